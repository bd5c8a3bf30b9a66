package gossip

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
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
