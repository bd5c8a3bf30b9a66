package netservice_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
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
