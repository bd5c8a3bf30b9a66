package p2p

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/stream"
)

// Defaults of the options.
const (
	DefaultMaxStreams        = 4096 // over all tunnels
	DefaultMaxStreamsPerPeer = 1024 // over all tunnels
	DefaultDialTimeout       = 30 * time.Second
	// DefaultServedIdle is the idle timeout of listeners that admit any peer.
	// All others have none.
	DefaultServedIdle = 2 * time.Hour
	// DefaultBacklog is how many connections may wait for Accept.
	DefaultBacklog = 128
)

// PeerReport says how a local service is told which peer a connection comes
// from.
type PeerReport uint8

const (
	// ReportNone sends the peer's bytes and nothing else.
	ReportNone PeerReport = iota
	// ReportPeerID writes the peer ID as text and a newline ahead of the
	// peer's bytes, as kubo's --report-peer-id does.
	ReportPeerID
	// ReportProxyV2 writes a PROXY protocol v2 header ahead of the peer's
	// bytes: the peer's IP address and port if it is known, and its peer ID as
	// text in a TLV of type 0xE0.
	ReportProxyV2
)

type settings struct {
	logger   *logrus.Logger
	registry metrics.Registry

	limits      stream.Limits
	idle        time.Duration
	idleSet     bool
	stall       time.Duration
	dialTimeout time.Duration
	backlog     int

	admitted map[peer.ID]bool     // nil admits all
	admit    []func(peer.ID) bool // all have to agree
	allow    TargetRule
	report   PeerReport
	narrowed bool // the tunnel itself says whom it admits
	custom   bool
	limited  bool
	check    bool
	urgent   bool
	pace     func(network.Stream, bool) network.Stream
}

func (s settings) with(opts []Option) settings {
	for _, o := range opts {
		if o != nil {
			o(&s)
		}
	}
	return s
}

// Option changes a default. Options given to NewP2P are the defaults of all its
// tunnels; options given to a tunnel are for that tunnel. A nil Option
// changes nothing.
type Option func(*settings)

// WithLogger sets the logger. Only for NewP2P. Default: a private one that
// writes to standard error.
func WithLogger(l *logrus.Logger) Option { return func(s *settings) { s.logger = l } }

// WithMetrics sets the metrics registry. Only for NewP2P. Default: a private
// one.
func WithMetrics(r metrics.Registry) Option { return func(s *settings) { s.registry = r } }

// WithMaxStreams bounds running streams: given to NewP2P, those of all tunnels
// together (default 4,096), given to a tunnel, those of that tunnel as well.
// Zero or less means no bound. Beyond it, local connections and streams of
// peers are reset at once.
func WithMaxStreams(n int) Option { return func(s *settings) { s.limits.Total = max(n, 0) } }

// WithMaxStreamsPerPeer bounds the running streams of one peer: given to
// NewP2P, in all tunnels together (default 1,024), given to a tunnel, in that
// tunnel as well. Zero or less means no bound.
func WithMaxStreamsPerPeer(n int) Option { return func(s *settings) { s.limits.PerPeer = max(n, 0) } }

// WithIdleTimeout resets a bridged stream on which no byte has moved in either
// direction for d, or up to a quarter later. Zero or less means never. Default:
// 2 hours for NewListener without WithAdmit or WithAdmitFunc of its own, never
// for others.
// It does not apply to connections of the program (DialConn, Listen), which has
// their deadlines.
func WithIdleTimeout(d time.Duration) Option {
	return func(s *settings) { s.idle, s.idleSet = max(d, 0), true }
}

// servedIdle is the idle timeout of a service.
func (s *settings) servedIdle() time.Duration {
	if !s.idleSet && !s.narrowed {
		return DefaultServedIdle
	}
	return s.idle
}

// WithStallTimeout resets a stream whose peer has finished sending and takes no
// more data for d. Such a peer has closed altogether, or reads very slowly.
// Default: 5 minutes.
func WithStallTimeout(d time.Duration) Option { return func(s *settings) { s.stall = d } }

// WithDialTimeout bounds the dialling of the peer, opening a stream included,
// and of the target. Default: 30 s.
func WithDialTimeout(d time.Duration) Option {
	return func(s *settings) {
		if d > 0 {
			s.dialTimeout = d
		}
	}
}

// WithAdmit lets only these peers use a listener; with none, nobody. Default:
// every peer that can connect to the host.
func WithAdmit(peers ...peer.ID) Option {
	return func(s *settings) {
		s.narrowed = true
		s.admitted = make(map[peer.ID]bool, len(peers))
		for _, p := range peers {
			s.admitted[p] = true
		}
	}
}

// WithAdmitFunc asks the program about each stream of a listener. The function
// is called on the stream's goroutine, by several at once; a panic refuses the
// peer. With WithAdmit, both must agree. A function given to NewP2P is asked
// first, and a tunnel's own does not replace it.
func WithAdmitFunc(admit func(peer.ID) bool) Option {
	return func(s *settings) {
		s.narrowed = true
		if admit != nil {
			s.admit = append(slices.Clip(s.admit), admit) // clipped: tunnels share the defaults
		}
	}
}

// WithTargetRule sets what a listener may connect to. The rule sees the
// resolved IP address of each attempt, so that a name cannot lead elsewhere.
// Default: AnyTarget for NewListener, whose target the program names itself;
// LoopbackOnly for tunnels from configuration.
func WithTargetRule(r TargetRule) Option { return func(s *settings) { s.allow = r } }

// WithPeerReport says how the local service learns who is connecting. Default:
// ReportNone.
func WithPeerReport(r PeerReport) Option { return func(s *settings) { s.report = r } }

// WithCustomProtocols allows protocol names that do not begin with "/x/".
func WithCustomProtocols() Option { return func(s *settings) { s.custom = true } }

// WithLimitedRelay allows streams over relayed connections that are limited in
// time and bytes. Default: only direct and unlimited connections.
func WithLimitedRelay() Option { return func(s *settings) { s.limited = true } }

// WithCheck makes Dial ask the peer before it listens, as CheckRemote does, and
// fail when the peer cannot be reached or does not serve the protocol.
func WithCheck() Option { return func(s *settings) { s.check = true } }

// WithPacing has each stream of a tunnel pass through pace before it carries data:
// it returns a stream that writes when others on the connection let it. urgent says
// whether the tunnel has WithUrgent. Only for NewP2P. Default: streams write as they
// are.
func WithPacing(pace func(s network.Stream, urgent bool) network.Stream) Option {
	return func(s *settings) { s.pace = pace }
}

// WithUrgent has the bytes of a tunnel compete with other traffic on the
// connection as equals, where the tunnels are paced. Default: they give way to it.
func WithUrgent() Option { return func(s *settings) { s.urgent = true } }

// WithBacklog sets how many connections may wait for Accept on a net.Listener.
// Beyond it, streams are reset. Default: 128.
func WithBacklog(n int) Option {
	return func(s *settings) {
		if n > 0 {
			s.backlog = n
		}
	}
}
