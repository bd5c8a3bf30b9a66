package netservice_test

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// Everybody in a star broadcasts as fast as it can, far more than the middle can pass
// on. Of what Broadcast has taken nothing is lost, and who brings too much waits.
func TestStarUnderLoadLosesNothing(t *testing.T) {
	const leaves = 9
	each := 400
	if testkit.Race {
		each = 250
	}
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		var got [leaves + 1]atomic.Int64
		join := func(i int, cfg netservice.Config) *nettest.Node {
			cfg.NoPeerExchange = true
			nd := nw.Add(cfg, quiet())
			if _, err := text.Subscribe(nd.Service(), func(context.Context, netservice.Received[[]byte]) { got[i].Add(1) },
				dispatcher.WithPolicy(dispatcher.Lossless)); err != nil {
				t.Fatal(err)
			}
			return nd
		}
		hub := join(0, chain())
		for i := range leaves {
			join(i+1, booted(hub))
		}
		nw.Start()
		hub.WaitForPeers(leaves)
		time.Sleep(3 * time.Second) // meshes form
		nw.SetBandwidth(hub, nettest.Bandwidth{Up: 10e6})
		var wg sync.WaitGroup
		for i, nd := range nw.Nodes() {
			wg.Go(func() {
				for k := range each {
					b := make([]byte, 600)
					binary.BigEndian.PutUint32(b, uint32(i))
					binary.BigEndian.PutUint32(b[4:], uint32(k))
					if err := text.Broadcast(t.Context(), nd.Service(), b); err != nil {
						t.Errorf("node %d: %v", i, err)
						return
					}
					if nd == hub {
						time.Sleep(10 * time.Millisecond) // its queues fill up meanwhile
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		delayed := int64(0)
		for i, nd := range nw.Nodes() {
			s := nd.Service().Stats().Gossip.Types["text"]
			delayed += s.Held
			if n := got[i].Load(); n != int64(leaves*each) || s.Dropped != 0 {
				t.Errorf("node %d has %d of %d: %+v", i, n, leaves*each, s)
			}
		}
		if delayed == 0 {
			t.Error("nobody had to wait: nothing was tested")
		}
	})
}

// A broadcast that finds no room before its context ends was not taken.
func TestBroadcastWaitsForRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		in := inbox(t, b.Service(), 1000)
		nw.Start()
		a.WaitForPeers(1)
		if err := text.Broadcast(t.Context(), a.Service(), []byte("first")); err != nil {
			t.Fatal(err)
		}
		next(t, "broadcast", in)
		nw.SetBandwidth(a, nettest.Bandwidth{Up: 1e6})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		taken := 0
		var err error
		for ; taken < 1000; taken++ {
			data := make([]byte, 100<<10)
			data[0], data[1] = byte(taken), byte(taken>>8)
			if err = text.Broadcast(ctx, a.Service(), data); err != nil {
				break
			}
		}
		if !errors.Is(err, netservice.ErrQueueFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %d: %v", taken, err)
		}
		for range taken {
			next(t, "broadcast", in)
		}
	})
}

// A lossless subscriber that is slower than what is broadcast pushes back, and loses
// nothing.
func TestSlowLosslessSubscriberLosesNoBroadcast(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		const messages = 6000
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		var got atomic.Int64
		if _, err := text.Subscribe(b.Service(), func(context.Context, netservice.Received[[]byte]) {
			time.Sleep(5 * time.Millisecond)
			got.Add(1)
		}, dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(100)); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		began := time.Now()
		for i := range messages {
			data := make([]byte, 400)
			binary.BigEndian.PutUint32(data, uint32(i))
			if err := text.Broadcast(t.Context(), a.Service(), data); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				time.Sleep(3 * time.Second) // the mesh forms
			}
		}
		if took := time.Since(began); took < 10*time.Second {
			t.Errorf("it took %v: the author was not slowed down", took)
		}
		time.Sleep(time.Minute)
		if n := got.Load(); n != messages {
			t.Errorf("%d of %d: %+v", n, messages, b.Service().Stats().Gossip.Types["text"])
		}
	})
}
