package peers

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/asn"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
)

// Manager keeps what the node knows of its peers. It is safe for concurrent
// use.
type Manager struct {
	cfg      Config
	feed     *feed
	attempts *attemptLimiter

	ctx    context.Context // ends with Close; bounds the dials
	cancel context.CancelCauseFunc
	wake   chan struct{} // one token: the loop looks for due targets again
	wg     sync.WaitGroup
	saving saving

	mu        sync.Mutex // guards what follows
	started   bool
	closed    bool
	limits    Limits
	entries   map[peer.ID]*entry
	inbound   int // entries that take an inbound slot
	outbound  int // the others
	liveIn    int
	liveOut   int
	targets   map[peer.ID]*target   // peers to keep
	trying    map[peer.ID]time.Time // other peers that are being dialled, and since when
	dialling  int                   // both together
	pace      tokenbucket.Bucket    // of dials to other peers
	book      *book.Book
	avoided   *bounded[peer.ID, avoidance]
	scores    *bounded[peer.ID, score]
	hellos    *bounded[peer.ID, tokenbucket.Bucket] // that peers have said
	offences  *bounded[netip.Prefix, offences]
	words     *bounded[peer.ID, word] // what was last heard of peers
	aims      *aims
	nets      []book.Ban // of networks, out of the book
	systems   *asn.Table
	last      departure
	replacing tokenbucket.Bucket
	excess    excess

	sessions, sessionsIn, sessionsOut, known metrics.Gauge
}

// New makes a manager that admits peers at once, and dials after Start.
func New(cfg Config) (*Manager, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		cfg:         cfg,
		limits:      cfg.limits(),
		systems:     cfg.Systems,
		attempts:    newAttemptLimiter(),
		wake:        make(chan struct{}, 1),
		entries:     make(map[peer.ID]*entry),
		targets:     make(map[peer.ID]*target),
		trying:      make(map[peer.ID]time.Time),
		book:        book.New(),
		avoided:     newBounded[peer.ID](maxAvoided, avoidance.before),
		scores:      newBounded[peer.ID](maxScores, score.less),
		hellos:      newBounded[peer.ID](maxBuckets, tokenbucket.Bucket.Less),
		offences:    newBounded[netip.Prefix](maxBuckets, offences.before),
		words:       newBounded[peer.ID](maxWords, word.before),
		aims:        newAims(),
		excess:      newExcess(),
		sessions:    cfg.Obs.Gauge(obs.Sessions),
		sessionsIn:  cfg.Obs.Gauge(obs.SessionsInbound),
		sessionsOut: cfg.Obs.Gauge(obs.SessionsOutbound),
		known:       cfg.Obs.Gauge(obs.PeersKnown),
	}
	lost := cfg.Obs.Counter(obs.PeerEventsDropped)
	m.feed = &feed{lost: func() { lost.Inc(1) }}
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	return m, nil
}

// Start reads the address book and begins to dial. A second call, or one after
// Close, does nothing.
func (m *Manager) Start() {
	m.load()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.closed {
		return
	}
	m.started = true
	m.wg.Go(m.loop) // its dials are counted in wg too
	if m.cfg.Store != nil {
		m.wg.Go(m.keepSaving)
	}
}

// Close stops dialling, ends every session with ReasonShuttingDown, closes the
// subscriptions after the last event, saves the address book, and returns when no
// dial runs any more. From then on nobody is admitted. It is idempotent.
func (m *Manager) Close() {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	m.cancel(handshake.ReasonShuttingDown)
	var after []func()
	for _, e := range m.entries {
		for _, t := range e.admissions() {
			after = append(after, m.endLocked(t, handshake.ReasonShuttingDown, false))
		}
	}
	started := m.started
	m.mu.Unlock()
	run(after...)
	m.feed.close()
	m.wg.Wait()
	if first && started {
		m.save(true)
	}
}

// Subscribe gives the events of the kinds named, or of all kinds but Refused
// when none is named, from now on. A size of 0 is DefaultEventQueue.
func (m *Manager) Subscribe(size int, kinds ...EventKind) *Subscription[Event] {
	return Subscribe(m, size, func(e Event) Event { return e }, kinds...)
}

// SetLimits changes how many peers there may be. Peers that do not fit any more,
// those worth least first, are asked to leave with ReasonTooManyPeers; reserved
// and persistent ones stay.
func (m *Manager) SetLimits(l Limits) {
	m.mu.Lock()
	setting.Default(&l.MaxPeers, DefaultMaxPeers)
	setting.Default(&l.InboundShare, DefaultInboundShare)
	m.limits = l
	after := m.trimLocked()
	m.mu.Unlock()
	run(after...)
	m.kick()
}

// SetSystems changes of which autonomous systems addresses are, for peers that come
// from now on.
func (m *Manager) SetSystems(t *asn.Table) {
	m.mu.Lock()
	m.systems = t
	m.mu.Unlock()
	m.kick()
}

// Limits are those in force.
func (m *Manager) Limits() Limits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limits
}

// run calls what was put off until the lock was released.
func run(after ...func()) {
	for _, f := range after {
		if f != nil {
			f()
		}
	}
}
