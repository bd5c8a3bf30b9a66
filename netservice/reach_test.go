package netservice_test

import (
	"context"
	"crypto/sha256"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

var (
	reachNodes    = flag.Int("reach.nodes", testkit.RaceOr(12, 20), "nodes of the reach tests")
	reachMessages = flag.Int("reach.messages", testkit.RaceOr(30, 100), "messages of the reach tests")
	reachRuns     = flag.Int("reach.runs", 1, "repetitions of the comparison, of which medians are compared")
	reachStrict   = flag.Bool("reach.strict", false, "fail the comparison if it is missed, and not only if messages are lost")
	reachSystems  = flag.String("reach.systems", "services,plain,unsigned", "systems of the comparison, in this order")
)

const (
	reachSize    = 1 << 10
	reachRate    = 100 // messages a second
	reachDegree  = 10  // connections a node
	reachForming = 15 * time.Second
)

var reachLink = nettest.Link{Latency: 50 * time.Millisecond}

// reachNet is a network of nodes that broadcast, in a bubble. All systems are
// given the same graph. Nodes are crashed and restarted from one goroutine.
type reachNet interface {
	start()
	publish(ctx context.Context, node int, data []byte) error
	crash(node int)
	restart(node int)
	duplicates() int64
	stop()
}

// reachGraph lists for each node the others that it dials.
func reachGraph(nodes int) [][]int {
	rng := rand.New(rand.NewPCG(1, 2))
	g := make([][]int, nodes)
	for i := range g {
		for _, j := range rng.Perm(nodes) {
			if j != i && len(g[i]) < reachDegree/2 {
				g[i] = append(g[i], j)
			}
		}
	}
	return g
}

func newReachNet(t *testing.T, system string, nodes int, got func(node int, data []byte)) reachNet {
	switch system {
	case "services":
		return newServicesNet(t, nodes, got)
	case "plain":
		return newPlainNet(t, nodes, got)
	case "unsigned":
		return newPlainNet(t, nodes, got,
			pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
			pubsub.WithMessageIdFn(func(m *pb.Message) string {
				sum := sha256.Sum256(m.Data)
				return string(sum[:20])
			}))
	}
	t.Fatalf("no system %q", system)
	return nil
}

// TestReach broadcasts over whole services and over plain go-libp2p-pubsub, the
// latter with its defaults and once more without signatures, in equal networks
// of which one node in twenty loses its power, and comes back, twice. Services
// may lose nothing at nodes that stay up. In full:
//
//	go test ./netservice -run TestReach -v -timeout 60m -reach.nodes 100 -reach.messages 1000 -reach.strict
//	go test ./netservice -run 'TestReach$' -v -timeout 60m -reach.nodes 1000 -reach.messages 100 -reach.strict
func TestReach(t *testing.T) {
	results := map[string][]bench.ReachResult{}
	for range *reachRuns {
		for system := range strings.SplitSeq(*reachSystems, ",") {
			bubble(t, func(t *testing.T) {
				r := reachUnderChurn(t, system)
				t.Logf("%-8s %v", system, r)
				results[system] = append(results[system], r)
				if system == "services" && r.Lost+r.Repeated > 0 {
					t.Errorf("%d lost at nodes that stayed up, %d repeated", r.Lost, r.Repeated)
				}
			})
		}
	}
	us := bench.Medians(results["services"])
	for _, name := range []string{"plain", "unsigned"} {
		if len(results[name]) == 0 || len(results["services"]) == 0 {
			continue
		}
		base := bench.Medians(results[name])
		t.Logf("services / %s: p99 %.2f, duplicates %.2f, cpu %.2f", name,
			float64(us.P99)/float64(base.P99), us.Duplicates/base.Duplicates, us.CPU/base.CPU)
		if *reachStrict && (us.P99 > base.P99 || us.Duplicates > base.Duplicates || us.CPU > 1.1*base.CPU) {
			t.Errorf("missed: services %v, %s %v", us, name, base)
		}
	}
}

// reachUnderChurn has random nodes publish, while others crash and restart, all
// at once. Nobody is told of a crash: the first one is five seconds old when the
// first message is sent, and has not been noticed by most; a second one comes
// when three quarters of the messages are sent.
func reachUnderChurn(t *testing.T, system string) bench.ReachResult {
	nodes, messages := *reachNodes, *reachMessages
	record := bench.NewReach(nodes, messages)
	n := newReachNet(t, system, nodes, record.Got)
	defer n.stop()
	n.start()
	time.Sleep(reachForming)

	rng := rand.New(rand.NewPCG(3, 4))
	victims := rng.Perm(nodes)[:max(1, nodes/20)]
	for _, v := range victims {
		record.Crashes(v)
	}
	all := func(f func(int)) {
		for _, v := range victims {
			f(v)
		}
	}
	const before = 5 * time.Second
	took := time.Duration(messages) * time.Second / reachRate
	churn := make(chan struct{})
	cost, dups := bench.StartCost(), n.duplicates()
	go func() {
		defer close(churn)
		all(n.crash)
		time.Sleep(before + took/2)
		all(n.restart)
		time.Sleep(took / 4)
		all(n.crash)
		time.Sleep(took/4 + before)
		all(n.restart)
	}()
	time.Sleep(before)
	for i := range messages {
		from := rng.IntN(nodes)
		for !record.Stable(from) {
			from = rng.IntN(nodes)
		}
		if err := n.publish(t.Context(), from, record.Say(i, from, reachSize)); err != nil {
			t.Errorf("%s: publish %d: %v", system, i, err)
		}
		time.Sleep(time.Second / reachRate)
	}
	<-churn
	time.Sleep(10 * time.Second)
	r := record.Count()
	r.CPU, r.Alloc = cost.Per(r.Delivered)
	r.Duplicates = float64(n.duplicates()-dups) / float64(nodes*messages)
	return r
}

// TestReachAcrossPartition splits a network of services for 30 s. After the
// heal the halves find each other by themselves, and messages that are in the
// gossip window then reach the other half.
func TestReachAcrossPartition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const perSecond, seconds = 4, 60
		// Messages are announced for four seconds, of which opening the streams
		// takes a part.
		const window = 3 * time.Second
		nodes := *reachNodes
		record := bench.NewReach(nodes, perSecond*seconds)
		n := newServicesNet(t, nodes, record.Got)
		n.start()
		time.Sleep(reachForming)
		halves := [2][]*nettest.Node{}
		for i, nd := range n.nodes {
			halves[i%2] = append(halves[i%2], nd)
		}
		before := n.across()
		n.nw.Partition(halves[0], halves[1])
		rng := rand.New(rand.NewPCG(5, 6))
		var healed, reunited time.Time
		for i := range perSecond * seconds {
			if i == perSecond*30 {
				if left := n.across(); left > 0 {
					t.Errorf("%d sessions across the partition after 30 s", left)
				}
				n.nw.Heal()
				healed = time.Now()
			}
			if !healed.IsZero() && reunited.IsZero() && n.across() > 0 {
				reunited = time.Now()
			}
			from := rng.IntN(nodes)
			if err := n.publish(t.Context(), from, record.Say(i, from, reachSize)); err != nil {
				t.Errorf("publish %d: %v", i, err)
			}
			time.Sleep(time.Second / perSecond)
		}
		if reunited.IsZero() {
			t.Fatalf("none of %d sessions between the halves %v after the heal", before, time.Since(healed))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		crossed, split := 0, 0
		for i := range perSecond * seconds {
			missing := record.Missing(i)
			switch sent := record.Sent(i); {
			case sent.After(reunited.Add(-window)):
				if len(missing) > 0 {
					t.Errorf("message %d, sent %v before the reunion, did not reach nodes %v", i, reunited.Sub(sent), missing)
				}
			case len(missing) > 0:
				split++
			case sent.Before(healed):
				crossed++
			}
		}
		if split == 0 {
			t.Error("every message crossed the partition: nothing was tested")
		}
		t.Logf("the first of %d sessions between the halves was back %v after the heal, %d at the end; %d messages sent before it crossed, %d did not",
			before, reunited.Sub(healed), n.across(), crossed, split)
	})
}

// across counts the sessions between even and odd nodes.
func (n *servicesNet) across() (count int) {
	half := make(map[peer.ID]int, len(n.nodes))
	for i, nd := range n.nodes {
		half[nd.ID()] = i % 2
	}
	for i, nd := range n.nodes {
		for _, p := range nd.Service().Peers() {
			if half[p.ID] != i%2 {
				count++
			}
		}
	}
	return count / 2
}
