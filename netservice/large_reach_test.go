package netservice_test

import (
	"flag"
	"math"
	"slices"
	"testing"
	"time"
)

var (
	largeNodes = flag.Int("large.nodes", 20, "nodes of the comparison of large broadcasts")
	largeSeeds = flag.Int("large.seeds", 1, "networks of the comparison of large broadcasts")
	largeAll   = flag.Bool("large.strict", false, "compare all sizes, and fail where the aims are missed")
)

// largeRow is what must be reached with a size, over GossipSub in the same network.
type largeRow struct {
	size               int
	time, wire, source float64
}

// TestLargeReach broadcasts large messages over whole services and over plain
// go-libp2p-pubsub in the same networks of 50 Mbit/s and 20 to 100 ms:
//
//	go test ./netservice -run TestLargeReach -v -timeout 60m -large.nodes 50 -large.seeds 3 -large.strict
//	go test ./netservice -run TestLargeReach -v -timeout 60m -large.nodes 200 -large.seeds 3 -large.strict
func TestLargeReach(t *testing.T) {
	crowd(t)
	rows := []largeRow{{512 << 10, .32, 1.15, 4.5}, {1 << 20, .20, 1.15, 4}, {4 << 20, .13, 1.20, 3.5}}
	if !*largeAll {
		rows = rows[1:2]
	}
	for _, r := range rows {
		var mine, theirs, wire, source float64
		for seed := range uint64(*largeSeeds) {
			m, w, s := largeServices(t, r.size, seed)
			p := largePush(t, r.size, seed)
			t.Logf("%4d KiB, seed %d: %.2f s to 95 %% of %d nodes, pubsub %.2f s: %.2f; received %.2f, source %.2f",
				r.size>>10, seed, m, *largeNodes, p, m/p, w, s)
			k := float64(*largeSeeds)
			mine, theirs, wire, source = mine+m/k, theirs+p/k, wire+w/k, source+s/k
		}
		t.Logf("%4d KiB: %.2f of the time of pubsub (aim %.2f), received %.2f of the size (%.2f), sent by the source %.2f (%.2f)",
			r.size>>10, mine/theirs, r.time, wire, r.wire, source, r.source)
		switch {
		case math.IsInf(mine, 1):
			t.Errorf("%d KiB: not at 95 %% of the nodes", r.size>>10)
		case *largeAll && (mine > r.time*theirs || wire > r.wire || source > r.source):
			t.Errorf("%d KiB: the aims are missed", r.size>>10)
		case mine > theirs/2 || wire > 1.5:
			t.Errorf("%d KiB: half the time of pubsub and 1.5 times the size are the least", r.size>>10)
		}
	}
}

// took is how long it was until q of the nodes had a message, in seconds.
func (a *arrivals) took(began time.Time, number byte, q float64, but int) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []float64
	for i, at := range a.at {
		if came, ok := at[number]; ok && i != but {
			all = append(all, came.Sub(began).Seconds())
		}
	}
	slices.Sort(all)
	if k := int(math.Ceil(q*float64(len(a.at)-1))) - 1; k < len(all) {
		return all[k]
	}
	return math.Inf(1)
}

func largeServices(t *testing.T, size int, seed uint64) (took, wire, source float64) {
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, *largeNodes, 10, seed, signed(t))
		n.ready()
		in0, out0 := n.wire()
		began := time.Now()
		n.publish(0, 1, size)
		n.wait(1, time.Minute, 0)
		took = n.took(began, 1, .95, 0)
		in1, out1 := n.wire()
		for i := range in1[1:] {
			wire += float64(in1[i+1]-in0[i+1]) / float64(size) / float64(len(in1)-1)
		}
		source = float64(out1[0]-out0[0]) / float64(size)
		if testing.Verbose() {
			t.Logf("%+v", n.nodes[1].Service().Stats().Large.Types[largeType.Name()])
		}
		n.nw.Stop()
	})
	return took, wire, source
}

func largePush(t *testing.T, size int, seed uint64) (took float64) {
	bubble(t, func(t *testing.T) {
		n := newPushNet(t, *largeNodes, 10, size, seed)
		began := time.Now()
		if err := n.subs[0].Publish(t.Context(), block(1, size)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if !math.IsInf(n.took(began, 1, 1, 0), 1) {
				break
			}
		}
		took = n.took(began, 1, .95, 0)
		n.stop()
	})
	return took
}
