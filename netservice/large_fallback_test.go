package netservice_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// TestLargeFallback: a peer that takes no chunks is sent a large message by GossipSub
// where it fits there; where it does not, that is counted, and others get it.
func TestLargeFallback(t *testing.T) {
	for _, tc := range []struct {
		name string
		size int
		fits bool
	}{
		{"300 KiB", 300 << 10, true},
		{"2 MiB", 2 << 20, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				if _, err := largeType.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
					t.Fatal(err)
				}
				cfg := chain()
				cfg.Bootstrap = []string{s.addr()}
				friend := s.service(s.address(), cfg)
				came := make(chan int, 1)
				if _, err := largeType.Subscribe(friend, func(_ context.Context, m netservice.Received[[]byte]) { came <- len(m.Value) }); err != nil {
					t.Fatal(err)
				}
				if err := friend.Start(); err != nil {
					t.Fatal(err)
				}
				s.event(netservice.PeerConnected, friend.Node().ID())
				g := s.gossiper(meshsub)
				g.subscribe(s.topic(largeType.Name()))
				meshed()
				g.heard()
				if err := largeType.Broadcast(t.Context(), s.victim, block(1, tc.size)); err != nil {
					t.Fatal(err)
				}
				if n := next(t, "message at the peer that takes chunks", came); n != tc.size {
					t.Errorf("%d bytes", n)
				}
				time.Sleep(5 * time.Second)
				got := 0
				for _, rpc := range g.heard() {
					for _, m := range rpc.Publish {
						got += len(m.Data)
					}
				}
				st := s.victim.Stats()
				c := st.Gossip.Types[largeType.Name()]
				switch {
				case tc.fits && (got != tc.size || c.Dropped != 0):
					t.Errorf("it was sent %d bytes, dropped %d", got, c.Dropped)
				case !tc.fits && (got != 0 || c.Dropped != 1):
					t.Errorf("it was sent %d bytes, dropped %d", got, c.Dropped)
				}
			})
		})
	}
}

// TestLargeThatOnlyPeerTakesNot: a large message that the only peer cannot take, as it
// knows nothing of chunks and GossipSub does not carry it, is ErrTooLarge, and may be
// broadcast again.
func TestLargeThatOnlyPeerTakesNot(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		if _, err := largeType.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
			t.Fatal(err)
		}
		g := s.gossiper(meshsub)
		g.subscribe(s.topic(largeType.Name()))
		meshed()
		for range 2 {
			err := largeType.Broadcast(t.Context(), s.victim, block(1, 2<<20))
			if !errors.Is(err, netservice.ErrTooLarge) || errors.Is(err, netservice.ErrQueueFull) || !strings.Contains(err.Error(), largeType.Name()) {
				t.Errorf("2 MiB: %v", err)
			}
		}
		if err := largeType.Broadcast(t.Context(), s.victim, block(1, 512<<10)); err != nil {
			t.Errorf("512 KiB: %v", err)
		}
		if c := s.victim.Stats().Gossip.Types[largeType.Name()]; c.Published != 1 || c.Dropped != 2 {
			t.Errorf("published %d, dropped %d", c.Published, c.Dropped)
		}
	})
}

// TestLargeAboveWhatPeersDeclare: a message above what all peers have declared waits for
// one that takes it, and is counted when none comes; where nothing waits, or so much waits
// that there is no room, it is ErrTooLarge.
func TestLargeAboveWhatPeersDeclare(t *testing.T) {
	for _, tc := range []struct {
		name  string
		wait  time.Duration
		sizes []int // of broadcasts that wait
	}{
		{"waits", 5 * time.Second, []int{7 << 20, 7 << 20}}, // 16 MiB in all may
		{"does not wait", -1, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a, b := nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
				mine := netservice.Declare("block", netservice.Raw(), netservice.MaxSize(8<<20),
					netservice.WithGossip(netservice.GossipSpec{PeerWait: tc.wait}))
				theirs := netservice.Declare("block", netservice.Raw(), netservice.MaxSize(1<<20))
				in := make(chan int, 9)
				for n, typ := range map[*nettest.Node]*netservice.Type[[]byte]{a: mine, b: theirs} {
					if _, err := typ.Subscribe(n.Service(), func(_ context.Context, m netservice.Received[[]byte]) { in <- len(m.Value) }); err != nil {
						t.Fatal(err)
					}
				}
				nw.Start()
				if err := a.Service().ConnectPeer(t.Context(), b.Addr()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				for i, size := range tc.sizes {
					if err := mine.Broadcast(t.Context(), a.Service(), block(byte(i), size)); err != nil {
						t.Fatalf("broadcast %d: %v", i, err)
					}
				}
				if err := mine.Broadcast(t.Context(), a.Service(), block(9, 3<<20)); !errors.Is(err, netservice.ErrTooLarge) {
					t.Errorf("without room to wait: %v", err)
				}
				if err := mine.Broadcast(t.Context(), a.Service(), block(8, 600<<10)); err != nil {
					t.Errorf("600 KiB behind those that wait: %v", err)
				}
				next(t, "message of 600 KiB", in)
				time.Sleep(10 * time.Second)
				c := a.Service().Stats().Gossip.Types["block"]
				if c.Unsent != int64(len(tc.sizes)) || c.Waiting != 0 || c.Dropped != 0 {
					t.Errorf("unsent %d, waiting %d, dropped %d", c.Unsent, c.Waiting, c.Dropped)
				}
				if err := mine.Broadcast(t.Context(), a.Service(), block(9, 1<<20)); err != nil {
					t.Errorf("1 MiB: %v", err)
				}
			})
		})
	}
}
