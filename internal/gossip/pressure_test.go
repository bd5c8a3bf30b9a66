package gossip

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// everybodySpeaks has all nodes publish without pause, and wants all of it to arrive
// everywhere, once, within a time.
func everybodySpeaks(t *testing.T, ns []*node, each, size int, within time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for i, n := range ns {
		wg.Go(func() {
			for k := range each {
				if err := n.e.Publish(t.Context(), "tx", []byte(payload(i*each+k, size))); err != nil {
					t.Errorf("node %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	want := (len(ns) - 1) * each
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(time.Second) {
		left := 0
		for _, n := range ns {
			left += want - n.box.total()
		}
		if left == 0 {
			break
		}
	}
	held := int64(0)
	for i, n := range ns {
		s := n.tx()
		held += s.Held
		if got := n.box.total(); got != want || s.Dropped != 0 {
			t.Errorf("node %d has %d of %d: %+v", i, got, want, s)
		}
	}
	if held == 0 {
		t.Error("nobody had to wait: nothing was tested")
	}
}

// The middle of a star can send less than its leaves bring. They wait, and nothing is
// lost.
func TestStarLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(8, func(c *Config, _ *declared) { c.PeerQueue = 64 })
		for _, n := range ns[1:] {
			w.connect(n.h, ns[0].h)
		}
		settle()
		w.net.SetBandwidth(w.net.Node(1), testnet.Bandwidth{Up: 32e6})
		everybodySpeaks(t, ns, testkit.RaceOr(500, 1500), 1000, time.Minute)
	})
}

// In a circle of peers whose queues are full all wait for each other, and go on.
func TestCirclesDoNotStand(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(6, func(c *Config, _ *declared) { c.PeerQueue = 16 })
		for i, n := range ns {
			w.net.SetBandwidth(w.net.Node(i+1), testnet.Bandwidth{Up: 4e6})
			w.connect(n.h, ns[(i+1)%len(ns)].h)
		}
		settle()
		everybodySpeaks(t, ns, testkit.RaceOr(200, 500), 1000, time.Minute)
	})
}

// Publish waits for a peer's queue as long as its context allows.
func TestPublishWaitsForRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, func(c *Config, _ *declared) { c.PeerQueue = 4 })
		w.connect(ns[0].h, ns[1].h)
		settle()
		w.net.SetBandwidth(w.net.Node(1), testnet.Bandwidth{Up: 80_000}) // 10 kB a second
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var err error
		sent := 0
		for ; err == nil; sent++ {
			err = ns[0].e.Publish(ctx, "tx", []byte(payload(sent, 100<<10)))
		}
		if !errors.Is(err, ErrQueueFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if s := ns[0].tx(); s.Published != int64(sent-1) || s.Held == 0 {
			t.Errorf("%d were sent: %+v", sent-1, s)
		}
		done := make(chan error)
		go func() { done <- ns[0].e.Publish(t.Context(), "tx", []byte("at the end")) }()
		time.Sleep(time.Second)
		must(t, ns[0].e.Close(context.Background()))
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// A Relay that found no space can be repeated, and is done once.
func TestRelayCanBeRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(3, func(c *Config, tx *declared) { c.PeerQueue, tx.Broadcast.ExplicitRelay = 4, true })
		w.connect(ns[0].h, ns[1].h)
		w.connect(ns[1].h, ns[2].h)
		settle()
		ns[0].publish(t, "first")
		settle()
		m := ns[1].box.last()
		w.net.SetBandwidth(w.net.Node(2), testnet.Bandwidth{Up: 800_000}) // 100 kB a second
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		var err error
		for i, ctx := 0, short(); err == nil; i++ {
			err = ns[1].e.Publish(ctx, "tx", []byte(payload(i, 500<<10)))
			synctest.Wait() // both writers have taken what they can, so that both queues fill
		}
		if err := ns[1].e.Relay(short(), m); !errors.Is(err, ErrQueueFull) {
			t.Fatal(err)
		}
		w.net.SetBandwidth(w.net.Node(2), testnet.Bandwidth{})
		for range 2 {
			must(t, ns[1].e.Relay(t.Context(), m))
		}
		for end := time.Now().Add(time.Minute); ns[2].box.count("first") == 0 && time.Now().Before(end); {
			settle()
		}
		if n, s := ns[2].box.count("first"), ns[1].tx(); n != 1 || s.Relayed != 1 {
			t.Errorf("came %d times; %+v", n, s)
		}
	})
}

// A peer that reads nothing for a minute, as one may that is slowed by others, keeps
// its stream and what waits for it.
func TestPeersMayPause(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.node(nil)
		r := &rawPeer{t: t, h: w.host()}
		var streams atomic.Int64
		goOn := make(chan struct{})
		r.h.SetStreamHandler(pubsub.GossipSubID_v12, func(s network.Stream) {
			streams.Add(1)
			<-goOn
			r.read(s)
		})
		w.connect(r.h, n.h)
		r.open(n)
		settle()
		const messages = 100
		for i := range messages {
			n.publish(t, payload(i, 20<<10))
		}
		time.Sleep(time.Minute)
		close(goOn)
		settle()
		got := 0
		for _, rpc := range r.drain() {
			got += len(rpc.GetPublish())
		}
		if s := n.tx(); got != messages || streams.Load() != 1 || s.Dropped != 0 {
			t.Errorf("%d of %d on %d streams: %+v", got, messages, streams.Load(), s)
		}
	})
}
