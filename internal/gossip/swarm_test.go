package gossip

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// speaker is a broadcast system on one host.
type speaker interface {
	Publish(ctx context.Context, data []byte) error
	Duplicates() int64
	Close()
}

// ours is the engine.
type ours struct{ e *Engine }

func newOurs(h host.Host, got func(data []byte)) (speaker, error) { return newEngine(h, got, false) }

func newEngine(h host.Host, got func(data []byte), signed bool) (speaker, error) {
	e, err := New(Config{Host: h, Network: testNetwork, Identity: identity(signed), Deliver: func(_ context.Context, m Message, _ bool) error {
		got(m.Data)
		return nil
	}})
	if err != nil {
		return nil, err
	}
	for _, err := range []error{e.Start(), e.Set(msgtype.Spec{Name: "tx"}, true, nil)} {
		if err != nil {
			return nil, err
		}
	}
	return &ours{e}, nil
}

func identity(signed bool) Identity {
	if signed {
		return Signed
	}
	return Unsigned
}

func (o *ours) Publish(ctx context.Context, data []byte) error { return o.e.Publish(ctx, "tx", data) }
func (o *ours) Duplicates() int64                              { return o.e.Stats().Types["tx"].Duplicates }
func (o *ours) Close()                                         { _ = o.e.Close(context.Background()) }

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
	return bench.NewPubSub(h, reachTopic, got, plainOptions(signed)...)
}

// swarm is a network of speakers in a bubble.
type swarm struct {
	t    testing.TB
	net  *testnet.Net
	rng  *rand.Rand
	make func(h host.Host, got func([]byte)) (speaker, error)

	hosts    []host.Host
	speakers []speaker
	record   *bench.Reach
}

func newSwarm(t testing.TB, nodes, messages int, mk func(host.Host, func([]byte)) (speaker, error)) *swarm {
	s := &swarm{
		t: t, make: mk,
		net:      testnet.New(7, testnet.WithLink(testnet.Link{Latency: 50 * time.Millisecond})),
		rng:      rand.New(rand.NewPCG(1, 2)),
		hosts:    make([]host.Host, nodes),
		speakers: make([]speaker, nodes),
		record:   bench.NewReach(nodes, messages),
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
	sp, err := s.make(h, func(data []byte) { s.record.Got(i, data) })
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

// say has a random node that never crashes publish message i.
func (s *swarm) say(i int) {
	from := s.rng.IntN(len(s.hosts))
	for !s.record.Stable(from) {
		from = s.rng.IntN(len(s.hosts))
	}
	if err := s.speakers[from].Publish(s.t.Context(), s.record.Say(i, from, reachSize)); err != nil {
		s.t.Errorf("publish %d: %v", i, err)
	}
}

func (s *swarm) close() {
	for i := range s.hosts {
		s.speakers[i].Close()
		_ = s.hosts[i].Close()
	}
}

func (s *swarm) dups() (n int64) {
	for _, sp := range s.speakers {
		n += sp.Duplicates()
	}
	return n
}

// wire is how many bytes all nodes of a network in virtual time have sent, those of the
// layers below gossip included.
func (s *swarm) wire() int64 {
	if s.net == nil {
		return 0
	}
	return int64(s.net.TotalStats().Sent)
}

// broadcast publishes all messages at reachRate and lets the last ones arrive.
func (s *swarm) broadcast() bench.ReachResult {
	cost, dups, wire := bench.StartCost(), s.dups(), s.wire()
	for i := range s.record.Messages() {
		s.say(i)
		time.Sleep(time.Second / reachRate)
	}
	time.Sleep(5 * time.Second)
	r := s.record.Count()
	r.CPU, r.Alloc = cost.Per(r.Delivered)
	r.Duplicates = float64(s.dups()-dups) / float64(len(s.hosts)*s.record.Messages())
	r.Wire = float64(s.wire()-wire) / float64(r.Delivered*reachSize)
	return r
}
