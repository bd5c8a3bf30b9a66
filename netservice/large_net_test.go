package netservice_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// largeType is the type of the tests of large broadcasts.
var largeType = netservice.Declare("block", netservice.Raw(), netservice.MaxSize(8<<20),
	netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless)))

// largeGraph lists for each node the others that it dials: half its degree.
func largeGraph(nodes, degree int, seed uint64) [][]int {
	rng := rand.New(rand.NewPCG(seed, 3))
	g := make([][]int, nodes)
	known := map[[2]int]bool{}
	for i := range g {
		for _, j := range rng.Perm(nodes) {
			if j != i && !known[[2]int{i, j}] && len(g[i]) < degree/2 {
				known[[2]int{i, j}], known[[2]int{j, i}] = true, true
				g[i] = append(g[i], j)
			}
		}
	}
	return g
}

// largeLink is 20 to 100 ms between two nodes, the same both ways.
func largeLink(seed uint64, a, b netip.Addr) time.Duration {
	x, y := a.As4(), b.As4()
	if x[1] > y[1] || x[1] == y[1] && x[2] > y[2] {
		x, y = y, x
	}
	rng := rand.New(rand.NewPCG(seed, uint64(x[1])<<24|uint64(x[2])<<16|uint64(y[1])<<8|uint64(y[2])))
	return 20*time.Millisecond + time.Duration(rng.Float64()*80e6)
}

// arrivals is when which node got which message, by the message's first byte.
type arrivals struct {
	mu sync.Mutex
	at []map[byte]time.Time
	// repeats counts messages that a node got more than once.
	repeats int
}

func newArrivals(nodes int) *arrivals {
	a := &arrivals{at: make([]map[byte]time.Time, nodes)}
	for i := range a.at {
		a.at[i] = map[byte]time.Time{}
	}
	return a
}

func (a *arrivals) note(node int, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, twice := a.at[node][data[0]]; twice {
		a.repeats++
		return
	}
	a.at[node][data[0]] = time.Now()
}

func (a *arrivals) has(node int, message byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.at[node][message]
	return ok
}

// largeNet is a network of services of which each knows some.
type largeNet struct {
	t     *testing.T
	nw    *nettest.Network
	nodes []*nettest.Node
	graph [][]int
	*arrivals
}

// newLargeNet makes it; set may change each node before it starts.
func newLargeNet(t *testing.T, nodes, degree int, seed uint64, set func(i int, s *netservice.NebService), opts ...netservice.Option) *largeNet {
	n := &largeNet{
		t: t, graph: largeGraph(nodes, degree, seed), arrivals: newArrivals(nodes),
		nw: nettest.New(t, nettest.WithBandwidth(nettest.Bandwidth{Up: 50e6, Down: 50e6})),
	}
	for i := range nodes {
		cfg := chain()
		cfg.NoPeerExchange = true
		cfg.ShutdownTimeout = netservice.Duration(20 * time.Second) // some lines are slow
		for _, j := range n.graph[i] {
			cfg.Bootstrap = append(cfg.Bootstrap, addrOfNode(t, j))
		}
		n.nodes = append(n.nodes, n.nw.Add(cfg, append([]netservice.Option{quiet()}, opts...)...))
		n.setup(i, n.nodes[i].Service(), set)
	}
	n.nw.SetLink(func(from, to *nettest.Node) nettest.Link {
		if from == nil || to == nil { // one that was added later
			return nettest.Link{Latency: 50 * time.Millisecond}
		}
		return nettest.Link{Latency: largeLink(seed, from.IP(), to.IP())}
	})
	n.nw.Start()
	return n
}

func (n *largeNet) setup(i int, s *netservice.NebService, set func(i int, s *netservice.NebService)) {
	if set != nil {
		set(i, s)
	}
	if _, err := largeType.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) { n.note(i, m.Value) }); err != nil {
		n.t.Fatal(err)
	}
}

// signed has all nodes sign their blocks, and trust all who do.
func signed(t *testing.T) func(i int, s *netservice.NebService) {
	return func(i int, s *netservice.NebService) {
		h := netservice.SignedHeaders(largeKey(t, i), func(peer.ID) bool { return true })
		if err := s.SetHeaders(largeType.Name(), h); err != nil {
			t.Fatal(err)
		}
	}
}

// largeKey is the key that a node signs its blocks with.
func largeKey(t testing.TB, i int) crypto.PrivKey {
	net := testnet.New(1)
	key, err := net.Key(net.Node(i))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// ready waits until all have about the peers that the graph gives them.
func (n *largeNet) ready() {
	want := make([]int, len(n.nodes))
	for i, js := range n.graph {
		want[i] += len(js)
		for _, j := range js {
			want[j]++
		}
	}
	for i, nd := range n.nodes {
		nd.WaitForPeers(want[i])
	}
	time.Sleep(15 * time.Second)
}

// block is size random bytes with a number in front.
func block(number byte, size int) []byte {
	b := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{number})
	rng.Read(b)
	b[0] = number
	return b
}

func (n *largeNet) publish(i int, number byte, size int) {
	n.t.Helper()
	if err := largeType.Broadcast(n.t.Context(), n.nodes[i].Service(), block(number, size)); err != nil {
		n.t.Fatal(err)
	}
}

// wait waits until all nodes but those have a block, and reports whether they do.
func (n *largeNet) wait(number byte, d time.Duration, but ...int) bool {
	skip := map[int]bool{}
	for _, i := range but {
		skip[i] = true
	}
	for end := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for i := range n.nodes {
			if !skip[i] && !n.has(i, number) {
				left++
			}
		}
		if left == 0 {
			return true
		}
		if time.Now().After(end) {
			n.t.Helper()
			n.t.Errorf("block %d is not at %d nodes after %s", number, left, d)
			return false
		}
	}
}

// wire is what the nodes' large and small broadcasts have taken: received and sent, by
// node.
func (n *largeNet) wire() (in, out []int64) {
	for _, nd := range n.nodes {
		st := nd.Service().Stats()
		in = append(in, st.Large.WireIn+st.Gossip.WireIn)
		out = append(out, st.Large.WireOut+st.Gossip.WireOut)
	}
	return in, out
}

// pushNet is the same network with go-libp2p-pubsub.
type pushNet struct {
	net   *testnet.Net
	hosts []host.Host
	subs  []*bench.PubSub
	*arrivals
}

func newPushNet(t *testing.T, nodes, degree, size int, seed uint64) *pushNet {
	n := &pushNet{arrivals: newArrivals(nodes), net: testnet.New(1,
		testnet.WithBandwidth(testnet.Bandwidth{Up: 50e6, Down: 50e6}),
		testnet.WithLinks(func(from, to netip.Addr) testnet.Link { return testnet.Link{Latency: largeLink(seed, from, to)} }))}
	for i := range nodes {
		h, err := n.net.NewHost(n.net.Node(i))
		if err != nil {
			t.Fatal(err)
		}
		sub, err := bench.NewPubSub(h, "block", func(data []byte) { n.note(i, data) }, pubsub.WithMaxMessageSize(2*size))
		if err != nil {
			t.Fatal(err)
		}
		n.hosts, n.subs = append(n.hosts, h), append(n.subs, sub)
	}
	for i, js := range largeGraph(nodes, degree, seed) {
		for _, j := range js {
			if err := n.hosts[i].Connect(t.Context(), testnet.Info(n.hosts[j])); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(15 * time.Second)
	return n
}

func (n *pushNet) stop() {
	for i, s := range n.subs {
		s.Close()
		_ = n.hosts[i].Close()
	}
}
