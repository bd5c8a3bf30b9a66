package reqresp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

const (
	component = "requests"
	// tick is how often streams without calls and calls without a handler are
	// looked through.
	tick = 5 * time.Second
)

// streamRate bounds the streams that one peer opens; an honest one opens one for each
// method, and another one after minutes of silence.
var streamRate = tokenbucket.Rate{PerSecond: 10, Burst: 256}

// Protocol is the protocol ID of requests in a network.
func Protocol(network string) protocol.ID {
	return protocol.ID("/neb/" + network + "/req/1.0.0")
}

// Engine makes and serves calls. Make one with New. Its methods may be called
// from any goroutine.
type Engine struct {
	cfg      Config
	obs      *obs.Obs
	protocol protocol.ID
	budgets  *pacing.Budgets // set by Start; nil: none
	desk     *desk
	making   callQuota
	known    experiences
	counters struct{ strangers, faults metrics.Counter }

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ended  chan struct{} // closed when wg is done after Close

	methods sync.Map // *Spec -> *method, of those that are called

	mu      sync.Mutex // guards what follows
	host    host.Host  // nil before Start
	closed  bool
	served  map[string]*method // by name; without a handler, those that were
	offered map[uint32]*method // by number
	callers map[callerKey]*caller
	servers map[serverKey]*server
	opening *lru.Cache[peer.ID, *tokenbucket.Bucket] // of streams
}

// serverKey: a peer has one stream of a method; a newer one takes its place.
type serverKey struct {
	peer   peer.ID
	method string
}

// New checks the configuration and opens nothing. Its errors are *ConfigErrors,
// joined.
func New(cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	e := &Engine{
		cfg: cfg, obs: cfg.Obs, protocol: Protocol(cfg.Network), desk: newDesk(cfg),
		making: callQuota{each: make(map[peer.ID]int)},
		ended:  make(chan struct{}),
		served: make(map[string]*method), offered: make(map[uint32]*method),
		callers: make(map[callerKey]*caller), servers: make(map[serverKey]*server),
	}
	e.opening, _ = lru.New[peer.ID, *tokenbucket.Bucket](maxRated) // fails for sizes below 1 only
	e.known.of, _ = lru.New[callerKey, *experience](maxExperience)
	e.counters.strangers = e.obs.Counter(obs.RequestStrangers)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// method returns what is known of a method that is called; spec must not change.
func (e *Engine) method(spec *Spec) *method {
	if m, ok := e.methods.Load(spec); ok {
		return m.(*method)
	}
	m, _ := e.methods.LoadOrStore(spec, e.newMethod(*spec))
	return m.(*method)
}

// Serve has calls of a method answered by h until stop is called, which does not
// wait for handlers. It may be called before Start. Errors: *ConfigErrors,
// ErrServed, ErrClosed.
func (e *Engine) Serve(spec *Spec, h Handler) (stop func(), err error) {
	m := e.newMethod(*spec)
	if m.bad != nil {
		return nil, m.bad
	}
	if !h.fits(m.spec.Kind) {
		return nil, &setting.Error{Field: "method " + spec.Name, Err: fmt.Errorf("the handler is not one for a method of kind %s", spec.Kind)}
	}
	var stale []*server
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	switch before := e.served[spec.Name]; {
	case before == nil:
	case before.handler.Load() != nil:
		e.mu.Unlock()
		return nil, fmt.Errorf("serve %s: %w", spec.Name, ErrServed)
	case before.spec == m.spec:
		m = before // its streams are served again
	default:
		for _, s := range e.servers {
			if s.m == before {
				stale = append(stale, s)
			}
		}
	}
	m.handler.Store(&h)
	e.served[spec.Name] = m
	if e.host != nil {
		err = e.offerLocked(m)
	}
	e.mu.Unlock()
	for _, s := range stale {
		s.out.control(kindError, 0, appendFailure(nil, failure{code: Unsupported})) // the caller closes it
	}
	stop = func() {
		if m.handler.CompareAndSwap(&h, nil) {
			e.withdraw(m)
		}
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("serve %s: %w", spec.Name, err)
	}
	return stop, nil
}

// offerLocked tells peers of a method. Offers calls nobody back.
func (e *Engine) offerLocked(m *method) error {
	number, err := e.cfg.Offers.Offer(&m.spec)
	if err == nil {
		e.offered[number] = m
	}
	return err
}

// withdraw tells peers that a method is no longer served, unless it is again.
func (e *Engine) withdraw(m *method) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.host != nil && e.served[m.spec.Name] == m && m.handler.Load() == nil {
		e.cfg.Offers.Withdraw(&m.spec)
	}
}

// enterStream admits a stream of a peer; e.wg.Done has to follow. When it does
// not, the code says why.
func (e *Engine) enterStream(p peer.ID) (network.StreamErrorCode, bool) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return network.StreamShutdown, false
	}
	b, ok := e.opening.Get(p)
	if !ok {
		b = new(tokenbucket.Bucket)
		e.opening.Add(p, b)
	}
	if !b.Take(streamRate, time.Now(), 1) {
		e.mu.Unlock()
		e.fault(p, FaultStreams)
		return network.StreamRateLimited, false
	}
	e.wg.Add(1)
	e.mu.Unlock()
	return 0, true
}

// serveStream makes a stream the one of its method and peer. It is nil when that
// method is not served.
func (e *Engine) serveStream(p peer.ID, number uint32, s network.Stream) *server {
	e.mu.Lock()
	m := e.offered[number]
	if m == nil || m.handler.Load() == nil {
		e.mu.Unlock()
		e.obs.Counter(obs.RequestUnknown).Inc(1)
		return nil
	}
	srv := &server{e: e, m: m, from: p, stream: s, calls: make(map[uint64]*served)}
	srv.out.init()
	key := serverKey{p, m.spec.Name}
	older := e.servers[key]
	e.servers[key] = srv
	closed := e.closed
	e.mu.Unlock()
	if older != nil {
		older.end(ErrEnded)
	}
	// The session may have ended before this stream was to be found.
	if closed || e.cfg.Peers.SessionConn(p) == nil {
		srv.end(ErrEnded)
	}
	return srv
}

// left forgets a stream that has ended.
func (e *Engine) left(s *server) {
	key := serverKey{s.from, s.m.spec.Name}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.servers[key] == s {
		delete(e.servers, key)
	}
}

// forget makes room for another stream in place of one that has ended.
func (e *Engine) forget(c *caller) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.callers[c.key] == c {
		delete(e.callers, c.key)
	}
}

// SessionEnded ends all calls from and to a peer. Call it when Peers no longer
// names its session.
func (e *Engine) SessionEnded(p peer.ID) {
	e.endStreams(func(q peer.ID) bool { return q == p }, ErrEnded)
}

func (e *Engine) endStreams(of func(peer.ID) bool, why error) {
	var ends []func(error)
	e.mu.Lock()
	for k, c := range e.callers {
		if of(k.peer) {
			ends = append(ends, c.end)
		}
	}
	for k, s := range e.servers {
		if of(k.peer) {
			ends = append(ends, s.end)
		}
	}
	e.mu.Unlock()
	var wg sync.WaitGroup
	for _, end := range ends {
		wg.Go(func() { end(why) }) // resets its stream: on a slow line that takes its time
	}
	wg.Wait()
}

// keepTime closes what is idle, until Close.
func (e *Engine) keepTime() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case now := <-t.C:
			e.sweep(now)
		}
	}
}

func (e *Engine) sweep(now time.Time) {
	e.mu.Lock()
	callers := make([]*caller, 0, len(e.callers))
	for _, c := range e.callers {
		callers = append(callers, c)
	}
	servers := make([]*server, 0, len(e.servers))
	for _, s := range e.servers {
		servers = append(servers, s)
	}
	e.mu.Unlock()
	for _, c := range callers {
		c.endIdle(now.Add(-e.cfg.IdleTimeout))
	}
	for _, s := range servers {
		s.mu.Lock()
		calls := make([]*served, 0, len(s.calls))
		for _, k := range s.calls {
			calls = append(calls, k)
		}
		s.mu.Unlock()
		for _, k := range calls {
			k.expire(now)
		}
	}
}

// fault accounts for a violation.
func (e *Engine) fault(p peer.ID, f Fault) {
	e.obs.Counter(obs.RequestFaults + string(f)).Inc(1)
	e.obs.Log(component).WithField("peer", p.String()).WithField("fault", string(f)).Debug("requests violated")
	e.cfg.Penalise(p, f)
}

// faultIn accounts for an error if it is a violation.
func (e *Engine) faultIn(p peer.ID, err error) {
	if f, ok := errors.AsType[Fault](err); ok {
		e.fault(p, f)
	}
}

func (e *Engine) panicked(m *method, value any) {
	e.obs.Panicked(obs.Panic{Component: component, In: m.spec.Name, Value: value, Count: e.obs.ByType(obs.RequestPanics, m.spec.Name)})
}

// remoteError is what a peer has answered.
func (e *Engine) remoteError(k callerKey, f failure) *Error {
	return &Error{Peer: k.peer, Method: k.method, Code: f.code, RetryAfter: f.after, Text: f.text}
}

// localError is what this node decides by itself.
func (e *Engine) localError(k callerKey, c Code, text string) *Error {
	return &Error{Peer: k.peer, Method: k.method, Code: c, Text: text, Local: true}
}

// requestTooLarge is for a request above the method's limit.
func (e *Engine) requestTooLarge(k callerKey, m *method, size int) *Error {
	return e.localError(k, TooLarge, fmt.Sprintf("a request of %d bytes, MaxRequest is %d", size, m.spec.MaxRequest))
}

// Start offers what is served and takes streams on a host, which is closed after
// the engine. Everything written goes through the budgets, if there are any. It is
// called once. Errors: those of Offers; ErrClosed.
func (e *Engine) Start(h host.Host, budgets *pacing.Budgets) error {
	e.mu.Lock()
	if e.closed || e.host != nil {
		e.mu.Unlock()
		return ErrClosed
	}
	e.host, e.budgets = h, budgets
	var errs []error
	for _, m := range e.served {
		if m.handler.Load() != nil {
			errs = append(errs, e.offerLocked(m))
		}
	}
	e.wg.Go(e.keepTime)
	e.mu.Unlock()
	h.SetStreamHandler(e.protocol, e.handle)
	return errors.Join(errs...)
}

// Close ends all calls and waits for every handler, until ctx ends; then its
// error names the methods whose handlers have not returned. It may be called
// again.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	first, h := !e.closed, e.host
	e.closed = true
	e.mu.Unlock()
	if first {
		if h != nil {
			h.RemoveStreamHandler(e.protocol)
		}
		e.cancel()
		go func() {
			e.endStreams(func(peer.ID) bool { return true }, ErrClosed)
			e.wg.Wait()
			close(e.ended)
		}()
	}
	if lifecycle.Ended(ctx, e.ended) {
		return nil
	}
	if stuck := e.desk.stuck(); len(stuck) > 0 {
		return fmt.Errorf("handlers of %s have not returned: %w", strings.Join(stuck, ", "), ctx.Err())
	}
	return fmt.Errorf("streams have not ended: %w", ctx.Err())
}
