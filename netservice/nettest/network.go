package nettest

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Link describes one direction of the path between two nodes.
type Link struct {
	// Latency of one way.
	Latency time.Duration
	// Jitter is added to each segment, uniformly from [0, Jitter), the same to those
	// of a connection that leave at one instant. They stay in order.
	Jitter time.Duration
	// Loss is the probability, 0 to 1, that a segment has to be sent again,
	// which costs a retransmission timeout: 200 ms or two round trips, doubled
	// at each further loss, five times at most. A segment is what a connection writes
	// at one instant, or each 16 KiB of it. Of a dial it is the chance that an attempt
	// goes unanswered.
	Loss float64
}

// Bandwidth is that of a node's access line, in bits per second; 0 is no limit.
type Bandwidth struct {
	Up, Down int64
}

// Network is a set of nodes that can reach each other. Its methods may be
// called from any goroutine, those that add, start or stop nodes from one.
type Network struct {
	tb    testing.TB
	seed  uint64
	net   *testnet.Net
	nodes []*Node
}

// Option changes a Network under construction.
type Option func(*settings)

type settings struct {
	seed uint64
	opts []testnet.Option
}

// WithSeed sets the seed from which keys, jitter, loss and the choices of the nodes
// are drawn. Default: 1.
func WithSeed(seed uint64) Option { return func(s *settings) { s.seed = seed } }

// WithLink sets what is between any two nodes. Default: 10 ms each way.
func WithLink(l Link) Option {
	return func(s *settings) { s.opts = append(s.opts, testnet.WithLink(testnet.Link(l))) }
}

// WithBandwidth sets the access line of every node. Default: no limit.
func WithBandwidth(b Bandwidth) Option {
	return func(s *settings) { s.opts = append(s.opts, testnet.WithBandwidth(testnet.Bandwidth(b))) }
}

// New makes an empty network whose nodes are stopped when the test ends.
func New(tb testing.TB, opts ...Option) *Network {
	tb.Helper()
	s := settings{seed: 1, opts: []testnet.Option{testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond})}}
	for _, opt := range opts {
		opt(&s)
	}
	n := &Network{tb: tb, seed: s.seed, net: testnet.New(s.seed, s.opts...)}
	tb.Cleanup(n.Stop)
	return n
}

// Add makes a node, not yet started. Of its Config, Listen and DataDir are
// replaced: it listens on an address of its own and keeps its identity and its
// address book over restarts; a crash loses what was not saved by then.
func (n *Network) Add(cfg netservice.Config, opts ...netservice.Option) *Node {
	n.tb.Helper()
	nd := &Node{network: n, ip: n.net.Node(len(n.nodes)), cfg: cfg, opts: opts, disk: new(disk)}
	nd.make()
	n.nodes = append(n.nodes, nd)
	return nd
}

// Nodes returns all nodes in the order in which they were added.
func (n *Network) Nodes() []*Node { return n.nodes }

// Start starts all nodes that have not been started.
func (n *Network) Start() {
	n.tb.Helper()
	for _, nd := range n.nodes {
		nd.Start()
	}
}

// Stop stops all nodes at once and waits for them.
func (n *Network) Stop() {
	var wg sync.WaitGroup
	for _, nd := range n.nodes {
		wg.Go(nd.Stop)
	}
	wg.Wait()
}

// Partition splits the network: nodes of different groups do not reach each
// other. Nodes that no group names form one of their own.
func (n *Network) Partition(groups ...[]*Node) {
	ips := make([][]netip.Addr, len(groups))
	for i, g := range groups {
		for _, nd := range g {
			ips[i] = append(ips[i], nd.ip)
		}
	}
	n.net.Partition(ips...)
}

// Isolate pulls the cable of a node; it runs on.
func (n *Network) Isolate(nd *Node) { n.net.Isolate(nd.ip) }

// Cut drops what goes from one node to another; the way back stays open.
func (n *Network) Cut(from, to *Node) { n.net.Cut(from.ip, to.ip) }

// Heal ends all partitions, cuts and isolations.
func (n *Network) Heal() { n.net.Heal() }

// Reset ends every connection between two nodes, as a middlebox does.
func (n *Network) Reset(a, b *Node) { n.net.Reset(a.ip, b.ip) }

// SetLink makes link the description of every path from now on. It must be a
// pure function.
func (n *Network) SetLink(link func(from, to *Node) Link) {
	byIP := make(map[netip.Addr]*Node, len(n.nodes))
	for _, nd := range n.nodes {
		byIP[nd.ip] = nd
	}
	n.net.SetLink(func(from, to netip.Addr) testnet.Link { return testnet.Link(link(byIP[from], byIP[to])) })
}

// SetBandwidth sets the access line of one node.
func (n *Network) SetBandwidth(nd *Node, b Bandwidth) {
	n.net.SetBandwidth(nd.ip, testnet.Bandwidth(b))
}
