package session

import (
	"context"
	"errors"
	"fmt"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// blocker is a receiver of one type that takes nothing until it is let go.
type blocker struct {
	n    *node
	free chan struct{}
}

func blockType(n *node, blocked string) *blocker {
	k := &blocker{n: n, free: make(chan struct{})}
	n.handle = func(ctx context.Context, msgType string, batch [][]byte) error {
		if msgType == blocked {
			select {
			case <-k.free:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		n.record(msgType, batch)
		return nil
	}
	return k
}

// fill sends until the queue is full and returns how many were taken.
func fillQueue(t *testing.T, s *Session, msgType string, size int) (taken int) {
	t.Helper()
	for {
		err := trySend(s, msgType, randomBytes(uint64(taken), size), SendOptions{})
		if errors.Is(err, ErrQueueFull) {
			before := s.Stats().Types[msgType].Send.Written
			synctest.Wait()
			time.Sleep(time.Second)
			if s.Stats().Types[msgType].Send.Written == before {
				return taken
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		taken++
	}
}

// TestBackPressure: a receiver that does not take a type stops its sender,
// nothing is lost, and another type goes on as if nothing were.
func TestBackPressure(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		slow := msgtype.Spec{Name: "slow", QueueBytes: 1 << 20}
		a, b := simNode(t, net, 1, nil, tx, slow), simNode(t, net, 2, nil, tx, slow)
		k := blockType(b, "slow")
		sa, _ := join(t, a, b)
		taken := fillQueue(t, sa, "slow", 10_000)
		if p := sa.Stats().Types["slow"].Send.PendingBytes; p > 1<<20 {
			t.Errorf("%d bytes queued", p)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := sa.Send(ctx, "slow", randomBytes(1, 10_000), SendOptions{})
		if !errors.Is(err, ErrQueueFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("send to a full queue: %v", err)
		}
		for i := range 100 {
			began := time.Now()
			send(t, sa, "tx", fmt.Sprint(i))
			b.await(t, "the other type", func() bool { return len(b.got["tx"]) == i+1 })
			if d := time.Since(began); d > 100*time.Millisecond {
				t.Fatalf("the other type took %s", d)
			}
		}
		// A sender that waits goes on when the receiver does.
		time.Sleep(time.Minute)
		go func() {
			time.Sleep(time.Second)
			close(k.free)
		}()
		send(t, sa, "slow", "last")
		b.await(t, "all messages", func() bool { return len(b.got["slow"]) == taken+1 })
		if got := b.messages("slow"); got[taken] != "last" {
			t.Error("out of order")
		}
		time.Sleep(time.Second)
		balance(t, sa)
		if d := sa.Stats().Send.Dropped; len(d) != 0 {
			t.Errorf("dropped %v", d)
		}
	})
}

// TestPeerBound: stalled types fill the peer's share, and do not lock out one
// that is not stalled.
func TestPeerBound(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		s1, s2 := msgtype.Spec{Name: "s1"}, msgtype.Spec{Name: "s2"}
		bound := func(c *Config) { c.QueueBytes = 1 << 20 }
		a, b := simNode(t, net, 1, bound, tx, s1, s2), simNode(t, net, 2, nil, tx, s1, s2)
		b.handle = func(ctx context.Context, msgType string, batch [][]byte) error {
			if msgType != "tx" {
				<-ctx.Done()
			}
			b.record(msgType, batch)
			return nil
		}
		sa, _ := join(t, a, b)
		fillQueue(t, sa, "s1", 10_000)
		fillQueue(t, sa, "s2", 10_000)
		if p := sa.Stats().Send.PendingBytes; p > 1<<20+typeReserve {
			t.Errorf("%d bytes queued", p)
		}
		send(t, sa, "tx", "small")
		b.await(t, "the message", func() bool { return len(b.got["tx"]) == 1 })
	})
}

// TestSlowReader: a stream that takes nothing for WriteTimeout is reset and its
// queue dropped; after StallLimit of them the session ends.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		spec := msgtype.Spec{Name: "slow", QueueBytes: 1 << 20}
		a, b := simNode(t, net, 1, nil, spec, tx), simNode(t, net, 2, nil, spec, tx)
		blockType(b, "slow")
		sa, sb := join(t, a, b)
		for round := range 3 {
			began := time.Now()
			taken := fillQueue(t, sa, "slow", 10_000)
			if taken == 0 {
				t.Fatal("nothing was taken")
			}
			if r, _ := sa.Reason(); r != handshake.ReasonNone {
				t.Fatalf("round %d: session ended: %v", round, r)
			}
			for range 600 {
				if sa.Stats().Types["slow"].Send.Pending == 0 {
					break
				}
				time.Sleep(time.Second)
			}
			if d := time.Since(began); d < 2*time.Minute || d > 5*time.Minute {
				t.Errorf("round %d: reset after %s", round, d)
			}
		}
		<-sa.Done()
		<-sb.Done()
		if r, byRemote := sb.Reason(); r != handshake.ReasonSlowReader || !byRemote {
			t.Errorf("reason %v", r)
		}
		st := sa.Stats().Types["slow"].Send
		if st.Dropped["slow"] == 0 || int64(st.Dropped["slow"]) != a.counted(obs.SendDropped+"slow") {
			t.Errorf("%+v", st)
		}
		balance(t, sa)
	})
}

// TestTooLarge: what exceeds its type is refused; a queue smaller than the type
// allows takes one message all the same.
func TestTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		small := msgtype.Spec{Name: "small", MaxSize: 100, QueueBytes: 10}
		a, b := simNode(t, net, 1, nil, small), simNode(t, net, 2, nil, small)
		sa, _ := join(t, a, b)
		err := trySend(sa, "small", make([]byte, 101), SendOptions{})
		if tl, ok := errors.AsType[*TooLargeError](err); !ok || tl.Max != 100 || !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v", err)
		}
		if err := trySend(sa, "what", nil, SendOptions{}); !errors.Is(err, ErrUnknownType) {
			t.Errorf("%v", err)
		}
		send(t, sa, "small", string(make([]byte, 100)))
		b.await(t, "the message", func() bool { return len(b.got["small"]) == 1 })
	})
}

// TestPriorityOnSlowLink saturates a link of 1 MB/s with low messages of 1 MiB.
func TestPriorityOnSlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := testnet.New(1, testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond}))
		low := msgtype.Spec{Name: "low", Priority: msgtype.PriorityLow, Compression: msgtype.CompressNone}
		high := msgtype.Spec{Name: "high", Priority: msgtype.PriorityHigh}
		a, b := simNode(t, net, 1, nil, low, high), simNode(t, net, 2, nil, low, high)
		net.SetBandwidth(net.Node(1), testnet.Bandwidth{Up: 8 << 20})
		sa, _ := join(t, a, b)
		ctx, cancel := context.WithCancel(t.Context())
		payload := randomBytes(1, 1<<20)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for sa.Send(ctx, "low", payload, SendOptions{Shared: true}) == nil {
			}
		}()
		time.Sleep(20 * time.Second)
		var worst time.Duration
		for i := range 100 {
			began := time.Now()
			send(t, sa, "high", "vote")
			b.await(t, "the vote", func() bool { return len(b.got["high"]) == i+1 })
			worst = max(worst, time.Since(began))
			time.Sleep(300 * time.Millisecond)
		}
		t.Logf("worst %s", worst)
		if worst > 200*time.Millisecond {
			t.Errorf("a high message took %s", worst)
		}
		if n := len(b.messages("low")); n < 40 {
			t.Errorf("low is starved: %d messages", n)
		}
		if r, _ := sa.Reason(); r != handshake.ReasonNone {
			t.Errorf("session ended: %v", r)
		}
		cancel()
		<-stopped
	})
}

// TestLowIsNotStarved saturates with high messages.
func TestLowIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := testnet.New(1, testnet.WithLink(testnet.Link{Latency: time.Millisecond}))
		specs := []msgtype.Spec{
			{Name: "low", Priority: msgtype.PriorityLow, Compression: msgtype.CompressNone},
			{Name: "high", Priority: msgtype.PriorityHigh, Compression: msgtype.CompressNone},
		}
		a, b := simNode(t, net, 1, nil, specs...), simNode(t, net, 2, nil, specs...)
		net.SetBandwidth(net.Node(1), testnet.Bandwidth{Up: 32 << 20})
		sa, _ := join(t, a, b)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		stopped := make(chan struct{}, 2)
		payload := randomBytes(1, 20_000)
		for _, s := range specs {
			go func() {
				for sa.Send(ctx, s.Name, payload, SendOptions{Shared: true}) == nil {
				}
				stopped <- struct{}{}
			}()
		}
		<-stopped
		<-stopped
		st := sa.Stats()
		share := float64(st.Types["low"].Send.Written) / float64(st.Send.Written)
		t.Logf("low has %.3f", share)
		if share < 0.02 || share > 0.4 {
			t.Errorf("low has %.3f of the link", share)
		}
	})
}

// TestPriorityWithinType: a high message of a type overtakes queued ones of the
// same type; within a priority the order stands.
func TestPriorityWithinType(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		k := blockType(b, "tx")
		sa, _ := join(t, a, b)
		n := fillQueue(t, sa, "tx", 50_000)
		// Room for the urgent one.
		if err := trySend(sa, "tx", []byte("urgent"), SendOptions{Priority: msgtype.PriorityHigh}); err != nil {
			t.Fatal(err)
		}
		close(k.free)
		b.await(t, "all", func() bool { return len(b.got["tx"]) == n+1 })
		at := slices.Index(b.messages("tx"), "urgent")
		if at < 1 || at > n-20 {
			t.Errorf("urgent arrived as %d of %d", at, n)
		}
	})
}

// TestResourceLimit: a peer without room for streams gets no messages; they are
// counted as dropped and the session lives.
func TestResourceLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		h, err := net.NewHost(net.Node(1), libp2p.ResourceManager(&noStreams{}))
		if err != nil {
			t.Fatal(err)
		}
		a := newNode(t, h, nil, tx)
		t.Cleanup(func() { a.close(t) })
		b := simNode(t, net, 2, nil, tx)
		sa, _ := join(t, a, b)
		h.Network().ResourceManager().(*noStreams).refuse.Store(true)
		send(t, sa, "tx", "m")
		time.Sleep(time.Minute)
		if d := sa.Stats().Send.Dropped["open"]; d != 1 {
			t.Errorf("%+v", sa.Stats().Send)
		}
		h.Network().ResourceManager().(*noStreams).refuse.Store(false)
		send(t, sa, "tx", "n")
		b.await(t, "the message", func() bool { return slices.Equal(b.got["tx"], []string{"n"}) })
		balance(t, sa)
	})
}

type noStreams struct {
	network.NullResourceManager
	refuse atomic.Bool
}

func (m *noStreams) OpenStream(p peer.ID, d network.Direction) (network.StreamManagementScope, error) {
	if d == network.DirOutbound && m.refuse.Load() {
		return nil, network.ErrResourceLimitExceeded
	}
	return m.NullResourceManager.OpenStream(p, d)
}

// stuckConn opens no stream before the caller gives up.
type stuckConn struct{ network.Conn }

func (stuckConn) NewStream(ctx context.Context) (network.Stream, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestStuckOpen: a stream that cannot be opened is given up after OpenTimeout,
// and with it the message that it was for.
func TestStuckOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, net *testnet.Net) {
		a, b := simNode(t, net, 1, nil, tx), simNode(t, net, 2, nil, tx)
		sa, _ := join(t, a, b)
		real := sa.conn
		sa.conn = stuckConn{real}
		send(t, sa, "tx", "nobody gets this")
		time.Sleep(sa.e.cfg.OpenTimeout - time.Second)
		if st := sa.Stats().Types["tx"].Send; st.Pending != 1 {
			t.Errorf("before the timeout: %+v", st)
		}
		time.Sleep(time.Second + sa.e.cfg.OpenTimeout/4)
		if st := sa.Stats().Types["tx"].Send; st.Dropped["open"] != 1 || st.Pending != 0 {
			t.Errorf("after the timeout: %+v", st)
		}
		sa.conn = real
		send(t, sa, "tx", "this")
		b.await(t, "the message", func() bool { return len(b.got["tx"]) == 1 })
		balance(t, sa)
	})
}
