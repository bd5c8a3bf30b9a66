package netservice_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// While a network moves to a larger maximum, what the old nodes do not take is not sent
// to them: they would hold it against the new ones, and ban them. All that both
// declarations allow arrives everywhere.
func TestLargerMaximumNodeByNode(t *testing.T) {
	for name, tc := range map[string]struct{ before, after, large int }{
		"on streams":          {1000, 4000, 3000},
		"in chunks":           {300 << 10, 2 << 20, 500 << 10},
		"into chunks":         {100 << 10, 2 << 20, 500 << 10},
		"above the default":   {0, 8 << 20, 2 << 20},
		"of streams, default": {0, 4 << 20, 2 << 20}, // both say 4 MiB of messages
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				const rounds = 20
				small, large := new([4]atomic.Int32), new([4]atomic.Int32)
				for i := range small {
					cfg := chain()
					if i > 0 {
						cfg = booted(nw.Nodes()[0])
					}
					most := tc.before
					if i%2 == 1 {
						most = tc.after
					}
					n := nw.Add(cfg, quiet())
					block := netservice.Declare("block", netservice.Raw(), netservice.MaxSize(most))
					if _, err := block.Subscribe(n.Service(), func(_ context.Context, m netservice.Received[[]byte]) {
						if len(m.Value) == tc.large {
							large[i].Add(1)
						} else {
							small[i].Add(1)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				nw.Start()
				for _, n := range nw.Nodes() {
					n.WaitForPeers(3)
				}
				time.Sleep(5 * time.Second) // the meshes
				from := nw.Nodes()[1].Service()
				for i := range rounds {
					block := make([]byte, tc.large)
					copy(block, fmt.Sprint(i))
					for _, data := range [][]byte{block, fmt.Append(nil, i)} {
						if err := from.Broadcast(t.Context(), "block", data); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(5 * time.Second)
				}
				time.Sleep(30 * time.Second)
				for i, n := range nw.Nodes() {
					want := [2]int{rounds, rounds * (i % 2)}
					if i == 1 {
						want = [2]int{} // its own
					}
					if got := [2]int{int(small[i].Load()), int(large[i].Load())}; got != want {
						t.Errorf("node %d got %v small and large ones, want %v", i, got, want)
					}
					st := n.Service().Stats()
					if r := st.Gossip.Types["block"].Rejected; r != 0 || len(n.Service().Bans()) > 0 || len(n.Service().Peers()) != 3 {
						t.Errorf("node %d has rejected %d, %d peers, bans %v", i, r, len(n.Service().Peers()), n.Service().Bans())
					}
				}
			})
		})
	}
}

// A message that no peer takes is counted as one for which there was no peer.
func TestTooLargeForAllPeersIsCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		if err := a.Service().Declare(netservice.MessageSpec{Name: "block", MaxSize: 4000}); err != nil {
			t.Fatal(err)
		}
		block := netservice.Declare("block", netservice.Raw(), netservice.MaxSize(1000))
		got := make(chan int, 9)
		if _, err := block.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) { got <- len(m.Value) }); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		b.WaitForPeers(1)
		time.Sleep(5 * time.Second)
		for _, size := range []int{3000, 1000} { // the second is not held up by the first
			if err := a.Service().Broadcast(t.Context(), "block", make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if st := a.Service().Stats().Gossip.Types["block"]; st.Unsent != 1 || st.Published != 2 {
			t.Errorf("published %d, unsent %d", st.Published, st.Unsent)
		}
		if size := next(t, "message", got); size != 1000 || len(got) > 0 {
			t.Errorf("one of %d bytes came, and %d more", size, len(got))
		}
	})
}
