package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	corenet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// mixed is a network in virtual time, half of it the engine, half go-libp2p-pubsub
// with its defaults but for a score.
type mixed struct {
	t     *testing.T
	net   *testnet.Net
	hosts []host.Host
	say   []func(data []byte) error
	stop  []func()

	mu     sync.Mutex // guards what follows
	got    []map[uint32]int
	theirs []map[peer.ID]float64 // scores, by node of theirs

	ours [mixedNodes]*gossip.Engine // nil for nodes of theirs
}

const mixedNodes = 20

func newMixed(t *testing.T, id gossip.Identity) *mixed {
	m := &mixed{
		t: t, net: testnet.New(3, testnet.WithLink(testnet.Link{Latency: 20 * time.Millisecond})),
		hosts: make([]host.Host, mixedNodes), say: make([]func([]byte) error, mixedNodes), stop: make([]func(), mixedNodes),
		got: make([]map[uint32]int, mixedNodes), theirs: make([]map[peer.ID]float64, mixedNodes),
	}
	for i := range mixedNodes {
		m.start(i, id)
	}
	return m
}

func (m *mixed) start(i int, id gossip.Identity) {
	m.t.Helper()
	h, err := m.net.NewHost(m.net.Node(i+1),
		libp2p.ResourceManager(&corenet.NullResourceManager{}), libp2p.Security(noise.ID, noise.New))
	if err != nil {
		m.t.Fatal(err)
	}
	m.hosts[i] = h
	m.mu.Lock()
	m.got[i] = make(map[uint32]int)
	m.mu.Unlock()
	got := func(data []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.got[i][binary.BigEndian.Uint32(data)]++
	}
	if i%2 == 0 {
		m.startOurs(i, h, id, got)
	} else {
		m.startTheirs(i, h, id, got)
	}
}

func (m *mixed) startOurs(i int, h host.Host, id gossip.Identity, got func([]byte)) {
	e, err := gossip.New(gossip.Config{Host: h, Network: network, Identity: id,
		Deliver: func(_ context.Context, msg gossip.Message, _ bool) error { got(msg.Data); return nil }})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, err := range []error{e.Start(), e.Set(msgtype.Spec{Name: "x", Broadcast: msgtype.Broadcast{Topic: topic}}, true, nil)} {
		if err != nil {
			m.t.Fatal(err)
		}
	}
	m.say[i] = func(data []byte) error { return e.Publish(context.Background(), "x", data) }
	m.ours[i] = e
	m.stop[i] = func() { _ = e.Close(context.Background()); _ = h.Close() }
}

func (m *mixed) startTheirs(i int, h host.Host, id gossip.Identity, got func([]byte)) {
	ctx, cancel := context.WithCancel(context.Background())
	decay := pubsub.ScoreParameterDecay(10 * time.Minute)
	opts := []pubsub.Option{
		pubsub.WithPeerScore(&pubsub.PeerScoreParams{
			AppSpecificScore: func(peer.ID) float64 { return 0 }, DecayInterval: time.Second, DecayToZero: 0.01,
			BehaviourPenaltyWeight: -10, BehaviourPenaltyDecay: decay, IPColocationFactorThreshold: 1,
			Topics: map[string]*pubsub.TopicScoreParams{topic: {
				TopicWeight: 1, TimeInMeshQuantum: time.Second, InvalidMessageDeliveriesWeight: -10, InvalidMessageDeliveriesDecay: decay,
				FirstMessageDeliveriesWeight: 1, FirstMessageDeliveriesDecay: decay, FirstMessageDeliveriesCap: 100,
			}},
		}, &pubsub.PeerScoreThresholds{GossipThreshold: -10, PublishThreshold: -20, GraylistThreshold: -30}),
		pubsub.WithPeerScoreInspect(func(s map[peer.ID]float64) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.theirs[i] = s
		}, time.Second),
		pubsub.WithPeerOutboundQueueSize(1024), // the default loses messages
	}
	if id == gossip.Unsigned {
		opts = append(opts, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
			pubsub.WithMessageIdFn(func(pm *pb.Message) string { return gossip.ContentID(pm.GetTopic(), pm.GetData(), "", nil) }))
	}
	ps, err := pubsub.NewGossipSub(ctx, h, opts...)
	if err != nil {
		m.t.Fatal(err)
	}
	top, err := ps.Join(topic)
	if err != nil {
		m.t.Fatal(err)
	}
	sub, err := top.Subscribe(pubsub.WithBufferSize(4096))
	if err != nil {
		m.t.Fatal(err)
	}
	go func() {
		for {
			msg, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if msg.ReceivedFrom != h.ID() {
				got(msg.Data)
			}
		}
	}()
	m.say[i] = func(data []byte) error { return top.Publish(ctx, data) }
	m.stop[i] = func() { cancel(); _ = h.Close() }
}

func (m *mixed) dial(rng *rand.Rand, i, k int) {
	for _, j := range rng.Perm(mixedNodes) {
		if j != i && k > 0 && m.hosts[i].Connect(m.t.Context(), testnet.Info(m.hosts[j])) == nil {
			k--
		}
	}
}

// TestMixedMesh has ten nodes of each kind broadcast while two of each go and come
// back. Nothing is lost at those that stay, and nobody scores the others down.
func TestMixedMesh(t *testing.T) {
	for _, id := range []gossip.Identity{gossip.Unsigned, gossip.Signed} {
		t.Run(identityName(id), func(t *testing.T) {
			if testkit.Race {
				// Timers of a bubble that fire on two processors corrupt the race
				// detector's state (golang/go#78156).
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			}
			synctest.Test(t, func(t *testing.T) { testMixedMesh(t, id) })
		})
	}
}

// burst has all nodes broadcast at once, faster than lines and queues of theirs can
// follow: what is lost then is not looked at, but nobody is to be blamed for it.
func (m *mixed) burst(messages uint32, from int) {
	for i := range mixedNodes {
		m.net.SetBandwidth(m.net.Node(i+1), testnet.Bandwidth{Up: 20e6, Down: 20e6})
	}
	each := uint32(100)
	if testkit.Race {
		each = 20
	}
	var wg sync.WaitGroup
	for i := from; i < mixedNodes; i++ {
		wg.Go(func() {
			for k := range each {
				data := make([]byte, 2000)
				binary.BigEndian.PutUint32(data, messages+uint32(i)*each+k)
				if err := m.say[i](data); err != nil {
					m.t.Errorf("node %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(30 * time.Second)
}

func testMixedMesh(t *testing.T, id gossip.Identity) {
	const messages, churned = 120, 4
	m := newMixed(t, id)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range mixedNodes {
		m.dial(rng, i, 4)
	}
	time.Sleep(10 * time.Second)
	for k := range uint32(messages) {
		if k%30 == 10 {
			v := int(k / 30 % churned)
			m.stop[v]()
			time.Sleep(time.Second)
			m.start(v, id)
			m.dial(rng, v, 8)
		}
		from := churned + int(k)%(mixedNodes-churned)
		if err := m.say[from](binary.BigEndian.AppendUint32(make([]byte, 0, 1000), k)[:1000]); err != nil {
			t.Errorf("%d: %v", k, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(15 * time.Second)
	m.burst(messages, churned)
	m.mu.Lock()
	for i := churned; i < mixedNodes; i++ {
		for k := range uint32(messages) {
			if want := 1; int(k)%(mixedNodes-churned)+churned != i && m.got[i][k] != want {
				t.Errorf("node %d has message %d %d times", i, k, m.got[i][k])
			}
		}
		for j, h := range m.hosts {
			if s := m.theirs[i][h.ID()]; s < 0 {
				t.Errorf("node %d scores node %d down: %s", i, j, fmt.Sprint(s))
			}
		}
		if m.ours[i] == nil {
			continue
		}
		s := m.ours[i].Stats()
		for j, h := range m.hosts {
			if p, ok := s.Peers[h.ID()]; ok && p.Score < 0 {
				t.Errorf("node %d of ours scores node %d down: %+v", i, j, p)
			}
		}
	}
	m.mu.Unlock()
	for _, stop := range m.stop {
		stop()
	}
	time.Sleep(time.Minute) // their goroutines end with their context
}
