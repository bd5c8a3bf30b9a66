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
	size                       int
	time, silent, wire, source float64
}

// largeRun is what was reached: seconds to 95 % of the nodes, and bytes over the size.
// The first message finds connections that have carried hardly anything, those after it
// such as a chain has with a block every few seconds.
type largeRun struct{ first, next, silent, wire, source, push float64 }

func (r *largeRun) add(o largeRun, k float64) {
	r.first, r.next, r.silent = r.first+o.first/k, r.next+o.next/k, r.silent+o.silent/k
	r.wire, r.source, r.push = r.wire+o.wire/k, r.source+o.source/k, r.push+o.push/k
}

// TestLargeReach broadcasts large messages over whole services and over plain
// go-libp2p-pubsub in the same networks of 50 Mbit/s and 20 to 100 ms:
//
//	go test ./netservice -run TestLargeReach -v -timeout 60m -large.nodes 50 -large.seeds 3 -large.strict
//	go test ./netservice -run TestLargeReach -v -timeout 60m -large.nodes 200 -large.seeds 3 -large.strict
func TestLargeReach(t *testing.T) {
	crowd(t)
	rows := []largeRow{{512 << 10, .32, .58, 1.15, 4.5}, {1 << 20, .20, .35, 1.15, 4}, {4 << 20, .13, .20, 1.20, 3.5}}
	if !*largeAll {
		rows = rows[1:2]
	}
	for _, r := range rows {
		var sum largeRun
		for seed := range uint64(*largeSeeds) {
			var one largeRun
			largeServices(t, r.size, seed, &one)
			if *largeAll {
				largeSilent(t, r.size, seed, &one)
			}
			one.push = largePush(t, r.size, seed)
			t.Logf("%4d KiB, seed %d, seconds to 95 %% of %d nodes: %.2f, the next %.2f, a tenth silent %.2f; pubsub %.2f; received %.2f, source %.2f",
				r.size>>10, seed, *largeNodes, one.first, one.next, one.silent, one.push, one.wire, one.source)
			sum.add(one, float64(*largeSeeds))
		}
		first, next, silent := sum.first/sum.push, sum.next/sum.push, sum.silent/sum.push
		t.Logf("%4d KiB: %.2f of the time of pubsub (aim %.2f), the next %.2f, a tenth silent %.2f (%.2f), received %.2f of the size (%.2f), sent by the source %.2f (%.2f)",
			r.size>>10, first, r.time, next, silent, r.silent, sum.wire, r.wire, sum.source, r.source)
		switch {
		case math.IsInf(first+next+silent, 1):
			t.Errorf("%d KiB: not at 95 %% of the nodes", r.size>>10)
		case *largeAll && (first > r.time || silent > r.silent || sum.wire > r.wire || sum.source > r.source):
			t.Errorf("%d KiB: the aims are missed", r.size>>10)
		case first > .5 || next > .4 || sum.wire > 1.5:
			t.Errorf("%d KiB: half the time of pubsub, four tenths for the next message and 1.5 times the size are the least", r.size>>10)
		}
	}
}

// took is how long it was until q of the nodes had a message, in seconds.
func (a *arrivals) took(began time.Time, number byte, q float64, but ...int) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []float64
	for i, at := range a.at {
		if came, ok := at[number]; ok && !slices.Contains(but, i) {
			all = append(all, came.Sub(began).Seconds())
		}
	}
	slices.Sort(all)
	if k := int(math.Ceil(q*float64(len(a.at)-len(but)))) - 1; k < len(all) {
		return all[k]
	}
	return math.Inf(1)
}

// largeServices broadcasts two messages over services.
func largeServices(t *testing.T, size int, seed uint64, r *largeRun) {
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, *largeNodes, 10, seed, signed(t))
		n.ready()
		in0, out0 := n.wire()
		r.first = n.timed(1, size)
		in1, out1 := n.wire()
		for i := range in1[1:] {
			r.wire += float64(in1[i+1]-in0[i+1]) / float64(size) / float64(len(in1)-1)
		}
		r.source = float64(out1[0]-out0[0]) / float64(size)
		time.Sleep(5 * time.Second)
		r.next = n.timed(2, size)
		n.nw.Stop()
	})
}

// largeSilent broadcasts one where a tenth of the nodes say to have it and send nothing.
func largeSilent(t *testing.T, size int, seed uint64, r *largeRun) {
	bubble(t, func(t *testing.T) {
		n := newLargeNet(t, *largeNodes, 10, seed, signed(t))
		n.ready()
		var silent []int
		for i := 5; i < *largeNodes; i += 10 {
			n.rogue(i, pretends)
			silent = append(silent, i)
		}
		r.silent = n.timed(1, size, silent...)
		n.nw.Stop()
	})
}

// timed publishes a message at node 0 and gives the seconds until 95 % of the others
// have it, but those.
func (n *largeNet) timed(number byte, size int, but ...int) float64 {
	but = append(but, 0)
	began := time.Now()
	n.publish(0, number, size)
	n.wait(number, time.Minute, but...)
	return n.took(began, number, .95, but...)
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
