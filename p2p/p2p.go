package p2p

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// Prefix is what protocol names begin with unless WithCustomProtocols is given.
const Prefix = "/x/"

const (
	maxProtocolName = 256
	maxLogText      = 512 // bytes of an error that are logged; it may carry words of the peer
)

// P2P makes tunnels over a host. It is safe for concurrent use.
type P2P struct {
	// Listeners knows what is listening, Streams which connections run.
	Listeners *listener.Registry
	Streams   *stream.Registry

	self      peer.ID
	host      host.Host
	peerstore peerstore.Peerstore
	obs       *obs.Obs
	defaults  settings
	openings  *openings
	undecided undecided
	config    applied

	// The sockets of the local end. Tests put an in-memory network here, and
	// names that resolve as they like.
	bindTo   func(context.Context, socketAddr) (net.Listener, error)
	dialTo   func(context.Context, socketAddr, settings) (net.Conn, error)
	resolver *net.Resolver // nil is the system's

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines of streams

	mu      sync.Mutex // guards closing, and adding to work
	closing bool
	closed  chan struct{} // closed when Close has done everything
}

// NewP2P returns tunnels over a host, none yet. The identity is the host's peer
// ID; an empty one, and a nil peerstore, are taken from the host. Close it
// before the host.
func NewP2P(identity peer.ID, h host.Host, ps peerstore.Peerstore, opts ...Option) *P2P {
	set := settings{
		limits:      stream.Limits{Total: DefaultMaxStreams, PerPeer: DefaultMaxStreamsPerPeer},
		dialTimeout: DefaultDialTimeout,
		backlog:     DefaultBacklog,
	}.with(opts)
	if identity == "" {
		identity = h.ID()
	}
	if ps == nil {
		ps = h.Peerstore()
	}
	o := obs.New(set.logger, set.registry)
	protect := newProtector(h.ConnManager())
	p := &P2P{
		Listeners: listener.NewRegistry(o.Logger(), o.Registry()),
		Streams: stream.NewRegistry(stream.Config{
			Metrics: o.Registry(), Limits: set.limits, Hold: protect.protect, Release: protect.release,
			Pace: set.pace,
		}),
		self: identity, host: h, peerstore: ps, obs: o,
		openings:  newOpenings(),
		undecided: undecided{asking: make(map[peer.ID]int)},
		closed:    make(chan struct{}),
	}
	set.limits = stream.Limits{} // a tunnel has limits of its own only when asked for
	set.narrowed = false
	p.defaults = set
	p.bindTo, p.dialTo = bindSocket, p.dialTarget
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Identity returns the peer ID that tunnels are made under.
func (p *P2P) Identity() peer.ID { return p.self }

// CheckProtoExists reports whether the host serves the protocol, by a tunnel or
// by anything else.
func (p *P2P) CheckProtoExists(proto string) bool {
	return slices.Contains(p.host.Mux().Protocols(), protocol.ID(proto))
}

// Close closes all listeners, resets all streams and waits for every goroutine.
// Later calls wait for the first one and do nothing. It must not be called from
// an admission function or a target rule. It always returns nil.
func (p *P2P) Close() error {
	p.mu.Lock()
	first := !p.closing
	p.closing = true
	p.mu.Unlock()
	if first {
		p.cancel()
		p.Listeners.Shutdown()
		p.Streams.Shutdown()
		p.work.Wait()
		close(p.closed)
	}
	<-p.closed
	return nil
}

// enter counts a goroutine that Close has to wait for; false when closed.
func (p *P2P) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	p.work.Add(1)
	return true
}

// checkProtocol judges a protocol name.
func checkProtocol(proto string, custom bool) error {
	bad := func(why string) error { return fmt.Errorf("%w: %q %s", ErrProtocolName, obs.Clean(proto), why) }
	switch {
	case proto == "" || proto == Prefix:
		return bad("is empty")
	case len(proto) > maxProtocolName:
		return bad("is longer than 256 bytes")
	case !utf8.ValidString(proto) || strings.ContainsFunc(proto, unicode.IsControl):
		return bad("has control characters")
	case !custom && !strings.HasPrefix(proto, Prefix):
		return bad("does not begin with " + Prefix)
	}
	return nil
}
