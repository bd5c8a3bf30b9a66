package netservice_test

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
)

// largeVote is what must not wait for large broadcasts.
var largeVote = netservice.Declare("vote", netservice.Raw(), netservice.WithPriority(netservice.PriorityHigh))

// TestLargeLeavesSmallAlone: a message of 1 KiB and high priority is hardly later while
// 4 MiB are broadcast than without. The worst ones are later: what other connections
// have handed to the node's line goes first, whatever its class.
func TestLargeLeavesSmallAlone(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		late := make(chan time.Duration, 10_000)
		n := newLargeNet(t, 20, 10, 1, func(i int, s *netservice.NebService) {
			signed(t)(i, s)
			_, err := largeVote.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) {
				due := binary.BigEndian.Uint64(m.Value)
				late <- time.Since(time.UnixMicro(int64(due)))
			})
			if err != nil {
				t.Fatal(err)
			}
		})
		n.ready()
		without := n.votes(2*time.Second, late)
		n.publish(0, 1, 4<<20)
		during := n.votes(2*time.Second, late)
		n.wait(1, time.Minute, 0)
		at := func(q float64) time.Duration {
			return during[int(q*float64(len(during)))] - without[int(q*float64(len(without)))]
		}
		t.Logf("later by %s on average, %s (median), %s (nine of ten), %s (99 %%), %s at most",
			mean(during)-mean(without), at(.5), at(.9), at(.99), during[len(during)-1])
		// Chunks in the class of the votes make nine of ten 50 ms later.
		if more := mean(during) - mean(without); more > 20*time.Millisecond || at(.9) > 35*time.Millisecond {
			t.Errorf("later by %s on average, by %s at nine of ten", more, at(.9))
		}
		n.nw.Stop()
	})
}

// votes has each node send one to each that it has dialled, every 50 ms, and gives by how
// much more than the latency of the way they took, sorted.
func (n *largeNet) votes(d time.Duration, late <-chan time.Duration) (all []time.Duration) {
	sent := 0
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for i, js := range n.graph {
			for _, j := range js {
				due := time.Now().Add(largeLink(1, n.nodes[i].IP(), n.nodes[j].IP()))
				b := binary.BigEndian.AppendUint64(make([]byte, 0, 1<<10), uint64(due.UnixMicro()))
				if err := largeVote.Send(n.t.Context(), n.nodes[i].Service(), n.nodes[j].ID(), b[:cap(b)]); err != nil {
					n.t.Fatal(err)
				}
				sent++
			}
		}
	}
	for range sent {
		select {
		case l := <-late:
			all = append(all, l)
		case <-time.After(10 * time.Second):
			n.t.Fatalf("%d of %d have come", len(all), sent)
		}
	}
	slices.Sort(all)
	return all
}

func mean(ds []time.Duration) (m time.Duration) {
	for _, d := range ds {
		m += d
	}
	return m / time.Duration(len(ds))
}
