package gossip

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/internal/testnet"
)

var (
	reachNodes    = flag.Int("reach.nodes", raceOr(12, 30), "nodes of the reach tests")
	reachMessages = flag.Int("reach.messages", raceOr(30, 100), "messages of the reach tests")
	reachRuns     = flag.Int("reach.runs", 1, "repetitions of the comparison, of which medians are compared")
	reachStrict   = flag.Bool("reach.strict", false, "fail the comparison if it is missed, and not only if messages are lost")
	reachSystems  = flag.String("reach.systems", "ours,plain,unsigned", "systems of the comparison, in this order")
)

const (
	reachSize    = 1 << 10
	reachRate    = 100 // messages a second
	reachDegree  = 10  // connections a node
	reachTopic   = "/" + testNetwork + "/tx"
	reachForming = 15 * time.Second
)

// speaker is a broadcast system on one host.
type speaker interface {
	publish(ctx context.Context, data []byte) error
	duplicates() int64
	close()
}

// ours is the engine.
type ours struct{ e *Engine }

func newOurs(h host.Host, got func(data []byte)) (speaker, error) {
	e, err := New(Config{Host: h, Network: testNetwork, Deliver: func(_ context.Context, m Message, _ bool) error {
		got(m.Data)
		return nil
	}})
	if err != nil {
		return nil, err
	}
	for _, err := range []error{e.Start(), e.Declare(Topic{Type: "tx"}), e.Join("tx")} {
		if err != nil {
			return nil, err
		}
	}
	return &ours{e}, nil
}

func (o *ours) publish(ctx context.Context, data []byte) error { return o.e.Publish(ctx, "tx", data) }
func (o *ours) duplicates() int64                              { return o.e.Stats().Types["tx"].Duplicates }
func (o *ours) close()                                         { _ = o.e.Close(context.Background()) }

// plain is go-libp2p-pubsub with its defaults.
type plain struct {
	cancel context.CancelFunc
	topic  *pubsub.Topic
	dups   atomic.Int64
}

// plainOptions are the least that differs from the defaults.
func plainOptions(signed bool) []pubsub.Option {
	if signed {
		return nil
	}
	return []pubsub.Option{
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { return ContentID(m.GetTopic(), m.GetData(), "", nil) }),
	}
}

func newPlain(h host.Host, got func(data []byte), signed bool) (speaker, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &plain{cancel: cancel}
	ps, err := pubsub.NewGossipSub(ctx, h, append(plainOptions(signed), pubsub.WithRawTracer(&dupTracer{n: &p.dups}))...)
	if err != nil {
		cancel()
		return nil, err
	}
	if p.topic, err = ps.Join(reachTopic); err != nil {
		cancel()
		return nil, err
	}
	// A buffer that holds the whole test: the default one of 32 loses messages.
	sub, err := p.topic.Subscribe(pubsub.WithBufferSize(1 << 14))
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if m.ReceivedFrom != h.ID() {
				got(m.Data)
			}
		}
	}()
	return p, nil
}

func (p *plain) publish(ctx context.Context, data []byte) error { return p.topic.Publish(ctx, data) }
func (p *plain) duplicates() int64                              { return p.dups.Load() }
func (p *plain) close()                                         { p.cancel() }

// swarm is a network of speakers in a bubble.
type swarm struct {
	t    testing.TB
	net  *testnet.Net
	rng  *rand.Rand
	make func(h host.Host, got func([]byte)) (speaker, error)

	hosts    []host.Host
	speakers []speaker
	unstable []bool // crashed at some time

	mu   sync.Mutex // guards the fields below
	sent []time.Time
	took [][]time.Duration // by message and node; 0 is never
}

func newSwarm(t testing.TB, nodes, messages int, mk func(host.Host, func([]byte)) (speaker, error)) *swarm {
	s := &swarm{
		t: t, make: mk,
		net:      testnet.New(7, testnet.WithLink(testnet.Link{Latency: 50 * time.Millisecond})),
		rng:      rand.New(rand.NewPCG(1, 2)),
		hosts:    make([]host.Host, nodes),
		speakers: make([]speaker, nodes),
		unstable: make([]bool, nodes),
		sent:     make([]time.Time, messages),
		took:     make([][]time.Duration, messages),
	}
	for i := range s.took {
		s.took[i] = make([]time.Duration, nodes)
	}
	for i := range nodes {
		s.start(i)
	}
	for i := range nodes {
		s.dial(s.rng, i, reachDegree/2)
	}
	return s
}

func (s *swarm) start(i int) {
	h, err := s.net.NewHost(s.net.Node(i+1), hostOptions()...)
	must(s.t, err)
	sp, err := s.make(h, func(data []byte) { s.got(i, data) })
	must(s.t, err)
	s.hosts[i], s.speakers[i] = h, sp
}

// dial connects node i to k random others.
func (s *swarm) dial(rng *rand.Rand, i, k int) {
	var wg sync.WaitGroup
	for _, j := range rng.Perm(len(s.hosts)) {
		if j == i || k == 0 {
			continue
		}
		k--
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
			defer cancel()
			_ = s.hosts[i].Connect(ctx, testnet.Info(s.hosts[j]))
		})
	}
	wg.Wait()
}

func (s *swarm) got(node int, data []byte) {
	at := time.Now()
	i := binary.BigEndian.Uint32(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.took[i][node] == 0 {
		s.took[i][node] = at.Sub(s.sent[i])
	}
}

// say has a random node that never crashes publish message i.
func (s *swarm) say(i int) {
	from := s.rng.IntN(len(s.hosts))
	for s.unstable[from] {
		from = s.rng.IntN(len(s.hosts))
	}
	s.sayFrom(from, i)
}

func (s *swarm) sayFrom(from, i int) {
	data := make([]byte, reachSize)
	binary.BigEndian.PutUint32(data, uint32(i))
	s.mu.Lock()
	s.sent[i] = time.Now()
	s.took[i][from] = time.Nanosecond
	s.mu.Unlock()
	if err := s.speakers[from].publish(s.t.Context(), data); err != nil {
		s.t.Errorf("publish %d: %v", i, err)
	}
}

func (s *swarm) close() {
	for i := range s.hosts {
		s.speakers[i].close()
		_ = s.hosts[i].Close()
	}
}

// result of one run.
type result struct {
	lost, delivered int
	p50, p99        time.Duration // of the time to all nodes
	each99          time.Duration // of the time to a node
	dups            float64       // per node and message
	cpu             float64       // microseconds per delivery
	alloc           float64       // KiB per delivery
}

func (r result) String() string {
	return fmt.Sprintf("lost %d of %d; to all nodes p50 %v p99 %v, to a node p99 %v; %.2f duplicates; %.0f us, %.1f KiB a delivery",
		r.lost, r.lost+r.delivered, r.p50.Round(time.Millisecond), r.p99.Round(time.Millisecond), r.each99.Round(time.Millisecond), r.dups, r.cpu, r.alloc)
}

// count sums up at the nodes that stayed up.
func (s *swarm) count() (r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all, each []time.Duration
	for _, nodes := range s.took {
		var last time.Duration
		for j, d := range nodes {
			switch {
			case s.unstable[j] || d == time.Nanosecond:
			case d == 0:
				r.lost++
			default:
				r.delivered++
				last = max(last, d)
				each = append(each, d)
			}
		}
		all = append(all, last)
	}
	r.p50, r.p99, r.each99 = quantile(all, 0.5), quantile(all, 0.99), quantile(each, 0.99)
	return r
}

func (s *swarm) dups() (n int64) {
	for _, sp := range s.speakers {
		n += sp.duplicates()
	}
	return n
}

func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// broadcast publishes all messages at reachRate and lets the last ones arrive.
func (s *swarm) broadcast() result {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, dups := cpuTime(), s.dups()
	for i := range s.sent {
		s.say(i)
		time.Sleep(time.Second / reachRate)
	}
	time.Sleep(5 * time.Second)
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	r := s.count()
	r.cpu = float64(cpu.Microseconds()) / float64(r.delivered)
	r.alloc = float64(after.TotalAlloc-before.TotalAlloc) / 1024 / float64(r.delivered)
	r.dups = float64(s.dups()-dups) / float64(len(s.hosts)*len(s.sent))
	return r
}

func reachMaker(name string) func(host.Host, func([]byte)) (speaker, error) {
	switch name {
	case "ours":
		return newOurs
	case "plain":
		return func(h host.Host, got func([]byte)) (speaker, error) { return newPlain(h, got, true) }
	}
	return func(h host.Host, got func([]byte)) (speaker, error) { return newPlain(h, got, false) }
}

// TestReachComparison broadcasts over the engine and over go-libp2p-pubsub with
// its defaults, in equal networks. In full:
//
//	go test ./internal/gossip -run TestReachComparison -v -timeout 30m -reach.nodes 100 -reach.messages 1000 -reach.runs 3 -reach.strict
func TestReachComparison(t *testing.T) {
	results := map[string][]result{}
	for range *reachRuns {
		for _, name := range strings.Split(*reachSystems, ",") {
			bubble(t, func(t *testing.T) {
				s := newSwarm(t, *reachNodes, *reachMessages, reachMaker(name))
				defer s.close()
				time.Sleep(reachForming)
				r := s.broadcast()
				t.Logf("%-8s %v", name, r)
				results[name] = append(results[name], r)
				if name == "ours" && r.lost > 0 {
					t.Errorf("%d lost", r.lost)
				}
			})
		}
	}
	us := medians(results["ours"])
	for _, name := range []string{"plain", "unsigned"} {
		if len(results[name]) == 0 || len(results["ours"]) == 0 {
			continue
		}
		base := medians(results[name])
		t.Logf("ours / %s: p99 %.2f, duplicates %.2f, cpu %.2f", name,
			float64(us.p99)/float64(base.p99), us.dups/base.dups, us.cpu/base.cpu)
		if *reachStrict && name == "plain" && (us.p99 > base.p99 || us.dups > base.dups || us.cpu > 1.1*base.cpu) {
			t.Errorf("missed: ours %v, plain %v", us, base)
		}
	}
}

func medians(rs []result) (m result) {
	if len(rs) == 0 {
		return
	}
	mid := len(rs) / 2
	slices.SortFunc(rs, func(a, b result) int { return int(a.p99 - b.p99) })
	m.p99, m.p50 = rs[mid].p99, rs[mid].p50
	slices.SortFunc(rs, func(a, b result) int { return int(1e6 * (a.dups - b.dups)) })
	m.dups = rs[mid].dups
	slices.SortFunc(rs, func(a, b result) int { return int(1e3 * (a.cpu - b.cpu)) })
	m.cpu = rs[mid].cpu
	return m
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
			s.unstable[v] = true
		}
		pause := time.Duration(len(s.sent)) * time.Second / reachRate / time.Duration(len(victims)+1)
		rng := rand.New(rand.NewPCG(3, 4))
		go func() {
			defer close(churn)
			for _, v := range victims {
				time.Sleep(pause)
				s.net.Crash(s.net.Node(v + 1))
				s.speakers[v].close()
				_ = s.hosts[v].Close()
				time.Sleep(pause / 2)
				s.net.Restart(s.net.Node(v + 1))
				s.start(v)
				s.dial(rng, v, reachDegree)
			}
		}()
		r := s.broadcastDuring(churn)
		t.Log(r)
		if r.lost > 0 {
			t.Errorf("%d lost at nodes that stayed up", r.lost)
		}
	})
}

// broadcastDuring is broadcast, waiting for done at the end.
func (s *swarm) broadcastDuring(done <-chan struct{}) result {
	for i := range s.sent {
		s.say(i)
		time.Sleep(time.Second / reachRate)
	}
	<-done
	time.Sleep(10 * time.Second)
	return s.count()
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
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, i := range late {
				for j, d := range s.took[i] {
					if d == 0 {
						t.Errorf("%d nodes: message %d of the last 2 s did not reach node %d", nodes, i, j)
					}
				}
			}
			if len(late) == 0 {
				t.Error("nothing was tested")
			}
			for i, ds := range s.took[:10] {
				if slices.Index(ds, 0) < 0 {
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
