package netservice_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// population is the number of nodes of TestPopulation, and populationSeed what their
// network, the order and the times of their starts follow from. The measure is taken
// with
//
//	go test -run TestPopulation -timeout 60m ./netservice -population 500 -population-seed 2
var (
	population     = flag.Int("population", 60, "nodes of TestPopulation")
	populationSeed = flag.Uint64("population-seed", 1, "seed of TestPopulation")
)

// outboundTarget is what a node with the default limits looks for.
const outboundTarget = 12

// wanting returns the running nodes that are below their target.
func wanting(nodes []*nettest.Node) (short []*nettest.Node) {
	for _, nd := range nodes {
		// Who is connected with everybody finds nobody more.
		if n := outbound(nd); n < outboundTarget && len(nd.Service().Peers()) < len(nodes)-1 {
			short = append(short, nd)
		}
	}
	return short
}

func outbound(nd *nettest.Node) int {
	g, _ := nd.Service().Metrics().Get("neb.net.peers.outbound").(metrics.Gauge)
	if g == nil {
		return 0
	}
	return int(g.Value())
}

// reached is how many of the nodes can be reached from the first one.
func reached(nodes []*nettest.Node) int {
	byID := make(map[peer.ID]*nettest.Node)
	for _, nd := range nodes {
		byID[nd.ID()] = nd
	}
	seen := map[peer.ID]bool{nodes[0].ID(): true}
	for queue := []*nettest.Node{nodes[0]}; len(queue) > 0; queue = queue[1:] {
		for _, p := range queue[0].Service().Peers() {
			if next := byID[p.ID]; next != nil && !seen[p.ID] {
				seen[p.ID] = true
				queue = append(queue, next)
			}
		}
	}
	return len(seen)
}

// atTarget waits until all nodes are at their target and the network is one, at
// most so long, and returns how long it took.
func atTarget(t *testing.T, nodes []*nettest.Node, within time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		short := wanting(nodes)
		if len(short) == 0 && reached(nodes) == len(nodes) {
			return time.Since(begun)
		}
		if time.Since(begun) >= within {
			least := outboundTarget
			for _, nd := range short {
				least = min(least, outbound(nd))
				t.Logf("%s has %d of %d, knows %d: %v", nd.IP(), outbound(nd), len(nd.Service().Peers()), nd.Service().Stats().Book.Peers, reasons(nd, nodes))
			}
			t.Errorf("after %s %d of %d nodes are below their target, one has %d; %d of %d are reached from one of them",
				within, len(short), len(nodes), least, reached(nodes), len(nodes))
			return within
		}
		time.Sleep(time.Second)
	}
}

// reasons are why a node is not connected with each of the others.
func reasons(nd *nettest.Node, nodes []*nettest.Node) map[string]int {
	count := make(map[string]int)
	for _, other := range nodes {
		w, err := nd.Service().Why(other.ID().String())
		switch {
		case err != nil:
			count[err.Error()]++
		case !w.Next.IsZero():
			count[fmt.Sprintf("%s; tried next in %s", w.Reason, time.Until(w.Next).Round(10*time.Second))]++
		default:
			count[w.Reason]++
		}
	}
	return count
}

// A network of nodes that know one boot node forms, survives the loss of that and
// of a third of all, and a restart of all of it at once.
func TestPopulation(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		nw := nettest.New(t, nettest.WithSeed(*populationSeed), nettest.WithLink(nettest.Link{Latency: 30 * time.Millisecond}))
		rng := rand.New(rand.NewPCG(*populationSeed, 2))
		boot := nw.Add(chain(), quiet())
		for range *population - 1 {
			nw.Add(booted(boot), quiet())
		}
		all := nw.Nodes()
		boot.Start()
		order := slices.Clone(all[1:])
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, nd := range order {
			time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Minute / time.Duration(len(order))))))
			nd.Start()
		}
		t.Logf("%d nodes at their target after %s", len(all), atTarget(t, all, 2*time.Minute).Round(time.Second))

		time.Sleep(40 * time.Second) // what is known is saved
		dead := append([]*nettest.Node{boot}, order[:len(all)*3/10]...)
		left := order[len(all)*3/10:]
		for _, nd := range dead {
			nd.Crash()
		}
		t.Logf("%d left, at their target after %s", len(left), atTarget(t, left, time.Minute).Round(time.Second))

		time.Sleep(40 * time.Second)
		for _, nd := range left {
			nd.Crash()
		}
		for _, nd := range order { // all but the boot node
			nd.Restart()
		}
		t.Logf("%d restarted without the boot node, at their target after %s", len(order), atTarget(t, order, 3*time.Minute).Round(time.Second))
	})
}

// Nodes whose network was away for ten minutes are back soon after its return,
// and not all at one moment.
func TestRecoveryFromAnOutage(t *testing.T) {
	crowd(t)
	bubble(t, func(t *testing.T) {
		nw := nettest.New(t)
		boot := nw.Add(chain(), quiet())
		for range 19 {
			nw.Add(booted(boot), quiet())
		}
		nw.Start()
		all := nw.Nodes()
		time.Sleep(time.Minute)
		before := make(map[*nettest.Node]int)
		for _, nd := range all {
			before[nd] = len(nd.Service().Peers())
		}
		me := all[7]
		for name, away := range map[string][]*nettest.Node{"one node": {me}, "everybody": all} {
			for _, nd := range away {
				nw.Isolate(nd)
			}
			time.Sleep(10 * time.Minute)
			if n := len(me.Service().Peers()); n != 0 {
				t.Errorf("%s: %d peers without a network", name, n)
			}
			nw.Heal()
			begun := time.Now()
			for _, nd := range away {
				for outbound(nd) < outboundTarget && len(nd.Service().Peers()) < before[nd] && time.Since(begun) < 30*time.Second {
					time.Sleep(time.Second)
				}
				if n := len(nd.Service().Peers()); n < min(before[nd], outboundTarget) {
					t.Errorf("%s: %d peers 30 s after the return, %d before", name, n, before[nd])
				}
			}
			t.Logf("%s: back after %s", name, time.Since(begun).Round(time.Second))
			time.Sleep(10 * time.Second)
		}
	})
}
