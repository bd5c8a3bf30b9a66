package netservice_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
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

// limited is a node's limits in a network of that many nodes, and how many outbound peers
// it then looks for. They are the default ones, but in a network that is so small that a
// node with those would be connected with nearly everybody.
func limited(cfg netservice.Config, nodes int) (netservice.Config, int) {
	if nodes >= 200 {
		return cfg, outboundTarget
	}
	cfg.MaxPeers, cfg.OutboundPeers = 20, 5
	return cfg, cfg.OutboundPeers
}

// byID are the nodes by their IDs.
func byID(nodes []*nettest.Node) map[peer.ID]*nettest.Node {
	m := make(map[peer.ID]*nettest.Node, len(nodes))
	for _, nd := range nodes {
		m[nd.ID()] = nd
	}
	return m
}

// living counts the outbound peers of a node that are among nodes. A session with a node
// that is gone does not count: it may not have been noticed yet.
func living(nd *nettest.Node, nodes map[peer.ID]*nettest.Node) (out int) {
	for _, p := range nd.Service().Peers() {
		if nodes[p.ID] != nil && p.Direction == network.DirOutbound {
			out++
		}
	}
	return out
}

// wanting returns the nodes that are below their target of outbound peers.
func wanting(nodes map[peer.ID]*nettest.Node, target int) (short []*nettest.Node) {
	for _, nd := range nodes {
		if living(nd, nodes) < target {
			short = append(short, nd)
		}
	}
	return short
}

// reached is how many of the nodes can be reached from one of them.
func reached(nodes map[peer.ID]*nettest.Node) int {
	seen := make(map[peer.ID]bool)
	var queue []*nettest.Node
	for p, nd := range nodes {
		seen[p], queue = true, append(queue, nd)
		break
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, p := range queue[0].Service().Peers() {
			if next := nodes[p.ID]; next != nil && !seen[p.ID] {
				seen[p.ID] = true
				queue = append(queue, next)
			}
		}
	}
	return len(seen)
}

// atTarget waits until all nodes have so many outbound peers and the network is one, at
// most so long, and returns how long it took.
func atTarget(t *testing.T, list []*nettest.Node, target int, within time.Duration) time.Duration {
	t.Helper()
	nodes, begun := byID(list), time.Now()
	for {
		short := wanting(nodes, target)
		if len(short) == 0 && reached(nodes) == len(nodes) {
			return time.Since(begun)
		}
		if time.Since(begun) >= within {
			least := target
			for _, nd := range short {
				out := living(nd, nodes)
				least = min(least, out)
				t.Logf("%s has %d of %d, knows %d: %v", nd.IP(), out, len(nd.Service().Peers()), nd.Service().Stats().Book.Peers, reasons(nd, list))
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
		cfg, target := limited(chain(), *population)
		boot := nw.Add(cfg, quiet())
		cfg.Bootstrap = []string{boot.Addr()}
		for range *population - 1 {
			nw.Add(cfg, quiet())
		}
		all := nw.Nodes()
		boot.Start()
		order := slices.Clone(all[1:])
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, nd := range order {
			time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Minute / time.Duration(len(order))))))
			nd.Start()
		}
		t.Logf("%d nodes at their target after %s", len(all), atTarget(t, all, target, 2*time.Minute).Round(time.Second))

		time.Sleep(40 * time.Second) // what is known is saved
		dead := append([]*nettest.Node{boot}, order[:len(all)*3/10]...)
		left := order[len(all)*3/10:]
		for _, nd := range dead {
			nd.Crash()
		}
		t.Logf("%d left, at their target after %s", len(left), atTarget(t, left, target, time.Minute).Round(time.Second))

		time.Sleep(40 * time.Second)
		for _, nd := range left {
			nd.Crash()
		}
		for _, nd := range order { // all but the boot node
			nd.Restart()
		}
		t.Logf("%d restarted without the boot node, at their target after %s", len(order), atTarget(t, order, target, 3*time.Minute).Round(time.Second))
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
				for len(nd.Service().Peers()) < min(before[nd], outboundTarget) && time.Since(begun) < 30*time.Second {
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
