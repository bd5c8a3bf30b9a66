package router

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

var (
	crashNodes    = flag.Int("crash.nodes", testkit.RaceOr(200, 1000), "nodes of the test with crashes")
	crashMessages = flag.Int("crash.messages", testkit.RaceOr(20, 100), "messages of the test with crashes")
	crashSeeds    = flag.Int("crash.seeds", 1, "runs of the test with crashes")
)

// TestThousandNodesWithCrashes has one node in twenty of a network of 1,000 lose its
// power twice, and come back, while the others broadcast. Nobody is told; peers
// notice within ten seconds, as sessions do. Those that stay up get everything, once,
// with as many copies as without crashes, and within the time that a heartbeat takes
// to mend what a hole in the mesh lost. Longer, with what it takes:
//
//	go test ./internal/gossip/router -run ThousandNodesWithCrashes -v -timeout 30m -crash.messages 1000 -crash.seeds 3
func TestThousandNodesWithCrashes(t *testing.T) {
	for seed := range uint64(*crashSeeds) {
		testCrashes(t, seed+1)
	}
}

func testCrashes(t *testing.T, seed uint64) {
	const noticed, before, every = 10 * time.Second, 5 * time.Second, 10 * time.Millisecond
	nodes, messages := *crashNodes, *crashMessages
	s := newSim(t, seed, nodes, 10, nil)
	s.run(10 * time.Second)
	victims := s.rng.Perm(nodes)[:nodes/20]
	all := func(f func(i int)) {
		for _, v := range victims {
			f(v)
		}
	}
	stable := func(i int) bool { return !slices.Contains(victims, i) }
	took := time.Duration(messages) * every
	for _, at := range []time.Duration{0, before + 3*took/4} {
		s.after(at, func() { all(func(v int) { s.cutPower(v, noticed) }) })
		s.after(at+before+took/2, func() { all(s.restart) })
	}
	s.run(before)
	authors, said := make([]int, messages), make([]time.Time, messages)
	for k := range messages {
		for authors[k] = s.rng.IntN(nodes); !stable(authors[k]); {
			authors[k] = s.rng.IntN(nodes)
		}
		said[k] = s.now
		s.publish(authors[k], k)
		s.run(every)
	}
	s.run(before + took/2 + noticed)
	lost := 0
	var took99 []time.Duration
	for k := range messages {
		lost += s.missing(authors[k], k, stable)
		for i, n := range s.nodes {
			if at, ok := n.got[fmt.Sprint("m", k)]; ok && stable(i) {
				took99 = append(took99, at.Sub(said[k]))
			}
		}
	}
	slices.Sort(took99)
	delivered, duplicates := s.copies()
	t.Logf("seed %d: %d nodes, %d of which crash twice, %d messages: %d lost at those that stay up, %d came twice; %.2f duplicates for each delivery; to a node p50 %v p99 %v, at most %v",
		seed, nodes, len(victims), messages, lost, s.repeats, float64(duplicates)/float64(delivered),
		took99[len(took99)/2], took99[len(took99)*99/100], took99[len(took99)-1])
	if lost > 0 || s.repeats > 0 {
		t.Errorf("seed %d: %d lost at nodes that stayed up, %d came twice", seed, lost, s.repeats)
	}
	if duplicates > 6*delivered {
		t.Errorf("seed %d: %d duplicates for %d deliveries", seed, duplicates, delivered)
	}
	for _, n := range s.nodes {
		if !n.down {
			check(t, n.r)
		}
	}
}

// cutPower has a node crash without a word: what its peers send to it until they
// notice, each by itself within noticed, is lost.
func (s *sim) cutPower(i int, noticed time.Duration) {
	n := s.nodes[i]
	for _, j := range s.neighbours(i) {
		number := n.peers[s.nodes[j].id].number
		s.after(noticed/2+time.Duration(s.rng.Int64N(int64(noticed/2))), func() {
			if s.nodes[j].peers[n.id].number == number {
				s.hangUp(j, i)
			}
		})
	}
	n.down = true
	clear(n.peers)
}
