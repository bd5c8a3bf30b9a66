package testnet

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of the options.
const (
	DefaultWindow      = 512 << 10
	DefaultBacklog     = 128
	DefaultDialTimeout = 15 * time.Second
	DefaultMaxRTO      = 8 * time.Second
)

// Net is a network of nodes. Make one with New; all methods may be called from
// any goroutine.
type Net struct {
	seed        uint64
	window      int
	backlog     int
	dialTimeout time.Duration
	maxRTO      time.Duration
	bandwidth   Bandwidth // of a node nobody set one for

	rules atomic.Pointer[rules] // replaced under mu, never changed in place

	mu        sync.Mutex // guards the fields below; never held while waiting
	nodes     map[netip.Addr]*node
	listeners map[netip.AddrPort]*Listener
	flows     map[*flow]struct{}
	ordinals  map[[2]netip.Addr]uint64
	nextFlow  uint64
}

// Option changes a Net under construction.
type Option func(*Net)

// WithLink makes l the link between any two nodes.
func WithLink(l Link) Option {
	return WithLinks(func(_, _ netip.Addr) Link { return l })
}

// WithLinks is SetLink from the start.
func WithLinks(link func(from, to netip.Addr) Link) Option {
	return func(n *Net) { n.rules.Load().link = link }
}

// WithBandwidth is the bandwidth of every node that SetBandwidth says nothing
// of. The zero value is no limit, and the default.
func WithBandwidth(b Bandwidth) Option {
	return func(n *Net) { n.bandwidth = b }
}

// WithWindow sets how many bytes of one direction of a connection may be
// written and not yet read. It bounds throughput to one window in one latency.
// The default is DefaultWindow; values below 1 are ignored.
func WithWindow(bytes int) Option {
	return func(n *Net) {
		if bytes > 0 {
			n.window = bytes
		}
	}
}

// WithBacklog sets how many connections of a listener may wait for Accept;
// beyond it a dialler's attempt is repeated as a lost one would be. The default
// is DefaultBacklog; values below 1 are ignored.
func WithBacklog(conns int) Option {
	return func(n *Net) {
		if conns > 0 {
			n.backlog = conns
		}
	}
}

// WithDialTimeout sets when a dial without an answer fails with ETIMEDOUT; its
// context may end it earlier. The default is DefaultDialTimeout; values below 1
// are ignored.
func WithDialTimeout(d time.Duration) Option {
	return func(n *Net) {
		if d > 0 {
			n.dialTimeout = d
		}
	}
}

// WithMaxRTO bounds the pause between two retransmissions, and by it the time
// from a heal to the delivery of what was black-holed. Linux has 120 s here; the
// default is DefaultMaxRTO. Values below 1 are ignored.
func WithMaxRTO(d time.Duration) Option {
	return func(n *Net) {
		if d > 0 {
			n.maxRTO = d
		}
	}
}

// New makes an empty network without latency, loss or limits, as the options
// change it. Jitter and loss are drawn from seed.
func New(seed uint64, opts ...Option) *Net {
	n := &Net{
		seed:        seed,
		window:      DefaultWindow,
		backlog:     DefaultBacklog,
		dialTimeout: DefaultDialTimeout,
		maxRTO:      DefaultMaxRTO,
		nodes:       make(map[netip.Addr]*node),
		listeners:   make(map[netip.AddrPort]*Listener),
		flows:       make(map[*flow]struct{}),
		ordinals:    make(map[[2]netip.Addr]uint64),
	}
	n.rules.Store(&rules{})
	for _, o := range opts {
		o(n)
	}
	return n
}

// Node returns the address of node i: public-looking, and alone in its /24, so
// that libp2p's limits per subnet see every node by itself. Valid i are 0 to
// 65535; others wrap round.
func (n *Net) Node(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{5, byte(i >> 8), byte(i), 1})
}

// node returns the node at addr, made on first use. An address that was never
// a source, a listener or given a bandwidth has no node: dialling it is met
// with silence.
func (n *Net) node(addr netip.Addr) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodeLocked(addr)
}

func (n *Net) nodeLocked(addr netip.Addr) *node {
	addr = addr.Unmap()
	nd := n.nodes[addr]
	if nd == nil {
		nd = newNode(addr, n.bandwidth)
		n.nodes[addr] = nd
	}
	return nd
}

// flowsLocked returns the open flows in the order they were dialled, so that
// what a fault does to them does not depend on the order of a map.
func (n *Net) flowsLocked() []*flow {
	fs := make([]*flow, 0, len(n.flows))
	for f := range n.flows {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b *flow) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return fs
}

func (n *Net) forget(f *flow) {
	n.mu.Lock()
	delete(n.flows, f)
	n.mu.Unlock()
}
