package gossip

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

var (
	reachNodes    = flag.Int("reach.nodes", testkit.RaceOr(12, 30), "nodes of the reach tests")
	reachMessages = flag.Int("reach.messages", testkit.RaceOr(30, 100), "messages of the reach tests")
	reachRuns     = flag.Int("reach.runs", 1, "repetitions of the comparison, of which medians are compared")
	reachStrict   = flag.Bool("reach.strict", false, "fail the comparison if it is missed, and not only if messages are lost")
	reachSystems  = flag.String("reach.systems", "ours,plain,unsigned", "systems of the comparison, in this order: ours and unsigned without signatures, signed and plain with")
)

const (
	reachSize    = 1 << 10
	reachRate    = 100 // messages a second
	reachDegree  = 10  // connections a node
	reachTopic   = "/" + testNetwork + "/tx"
	reachForming = 15 * time.Second
)

func reachMaker(name string) func(host.Host, func([]byte)) (speaker, error) {
	switch name {
	case "ours":
		return newOurs
	case "signed":
		return func(h host.Host, got func([]byte)) (speaker, error) { return newEngine(h, got, true) }
	case "plain":
		return func(h host.Host, got func([]byte)) (speaker, error) { return newPlain(h, got, true) }
	}
	return func(h host.Host, got func([]byte)) (speaker, error) { return newPlain(h, got, false) }
}

// TestReachComparison broadcasts over the engine and over go-libp2p-pubsub with
// its defaults, in equal networks. In full:
//
//	go test ./internal/gossip -run TestReachC -v -timeout 30m -reach.nodes 30 -reach.messages 1000 -reach.runs 3 -reach.systems ours,unsigned,signed,plain
//	go test ./internal/gossip -run TestReach -v -timeout 30m -reach.nodes 100 -reach.messages 1000 -reach.runs 3 -reach.strict
//	go test ./internal/gossip -run TestReach -v -timeout 30m -reach.nodes 1000 -reach.messages 100
func TestReachComparison(t *testing.T) {
	results := map[string][]bench.ReachResult{}
	for range *reachRuns {
		for name := range strings.SplitSeq(*reachSystems, ",") {
			bubble(t, func(t *testing.T) {
				s := newSwarm(t, *reachNodes, *reachMessages, reachMaker(name))
				defer s.close()
				time.Sleep(reachForming)
				r := s.broadcast()
				t.Logf("%-8s %v", name, r)
				results[name] = append(results[name], r)
				if (name == "ours" || name == "signed") && r.Lost+r.Repeated > 0 {
					t.Errorf("%d lost, %d repeated", r.Lost, r.Repeated)
				}
			})
		}
	}
	for _, pair := range [][2]string{{"ours", "unsigned"}, {"signed", "plain"}, {"ours", "plain"}} {
		if len(results[pair[0]]) == 0 || len(results[pair[1]]) == 0 {
			continue
		}
		us, base := bench.Medians(results[pair[0]]), bench.Medians(results[pair[1]])
		t.Logf("%s / %s: p99 %.2f, duplicates %.2f, cpu %.2f, wire %.2f", pair[0], pair[1],
			float64(us.P99)/float64(base.P99), us.Duplicates/base.Duplicates, us.CPU/base.CPU, us.Wire/base.Wire)
		if *reachStrict && pair[1] == "plain" && (us.P99 > base.P99 || us.Duplicates > base.Duplicates || us.CPU > 1.1*base.CPU) {
			t.Errorf("missed: %s %v, plain %v", pair[0], us, base)
		}
	}
}

// TestReachUnderChurn crashes and restarts one node in twenty meanwhile. Nothing
// may be lost at nodes that stayed up.
func TestReachUnderChurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, *reachNodes, *reachMessages, newOurs)
		defer s.close()
		time.Sleep(reachForming)
		churn := make(chan struct{})
		victims := s.rng.Perm(len(s.hosts))[:max(1, len(s.hosts)/20)]
		for _, v := range victims {
			s.record.Crashes(v)
		}
		pause := time.Duration(s.record.Messages()) * time.Second / reachRate / time.Duration(len(victims)+1)
		rng := rand.New(rand.NewPCG(3, 4))
		go func() {
			defer close(churn)
			for _, v := range victims {
				time.Sleep(pause)
				s.net.Crash(s.net.Node(v + 1))
				s.speakers[v].Close()
				_ = s.hosts[v].Close()
				time.Sleep(pause / 2)
				s.net.Restart(s.net.Node(v + 1))
				s.start(v)
				s.dial(rng, v, reachDegree)
			}
		}()
		r := s.broadcastDuring(churn)
		t.Log(r)
		if r.Lost > 0 {
			t.Errorf("%d lost at nodes that stayed up", r.Lost)
		}
	})
}

// broadcastDuring is broadcast, waiting for done at the end.
func (s *swarm) broadcastDuring(done <-chan struct{}) bench.ReachResult {
	for i := range s.record.Messages() {
		s.say(i)
		time.Sleep(time.Second / reachRate)
	}
	<-done
	time.Sleep(10 * time.Second)
	return s.record.Count()
}

// TestReachAcrossAPartition splits the network for 30 s. Peers notice within
// 10 s, as sessions do, and disconnect; a second after the heal they dial again.
// Messages that are in the gossip window then must reach the other half.
func TestReachAcrossAPartition(t *testing.T) {
	for _, nodes := range []int{6, *reachNodes} {
		bubble(t, func(t *testing.T) {
			const messages, seconds = 60, 30
			s := newSwarm(t, nodes, messages, newOurs)
			defer s.close()
			time.Sleep(reachForming)
			halves := [2][]netip.Addr{}
			for i := range nodes {
				halves[i%2] = append(halves[i%2], s.net.Node(i+1))
			}
			s.net.Partition(halves[0], halves[1])
			var late []int // messages that are in the window at the reunion
			for i := range messages {
				switch at := time.Duration(i) * seconds * time.Second / messages; {
				case i == messages/3:
					s.separate()
				case at > seconds*time.Second-2*time.Second:
					late = append(late, i)
				}
				s.say(i)
				time.Sleep(seconds * time.Second / messages)
			}
			s.net.Heal()
			time.Sleep(time.Second)
			for i := range nodes {
				s.dial(s.rng, i, 3)
			}
			time.Sleep(10 * time.Second)
			for _, i := range late {
				if m := s.record.Missing(i); len(m) > 0 {
					t.Errorf("%d nodes: message %d of the last 2 s did not reach nodes %v", nodes, i, m)
				}
			}
			if len(late) == 0 {
				t.Error("nothing was tested")
			}
			for i := range 10 {
				if len(s.record.Missing(i)) == 0 {
					t.Errorf("%d nodes: message %d crossed the partition", nodes, i)
				}
			}
		})
	}
}

// separate closes the connections between even and odd nodes.
func (s *swarm) separate() {
	for i, a := range s.hosts {
		for j, b := range s.hosts {
			if i%2 != j%2 {
				_ = a.Network().ClosePeer(b.ID())
			}
		}
	}
}
