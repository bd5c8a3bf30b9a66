package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Engine keeps the sessions of one host. It is safe for concurrent use.
type Engine struct {
	cfg    Config
	codec  *codec
	total  *totals
	queued atomic.Int64 // bytes, over all sessions

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // stream handlers, and whatever outlives its session

	types atomic.Pointer[map[string]*declared] // replaced as a whole under mu

	// handlers orders changes of types and of their stream handlers; mu may be
	// taken within.
	handlers sync.Mutex

	mu     sync.Mutex // guards the fields below
	closed bool
	slots  map[string]int        // of all names that were ever declared, from 0
	live   map[*Session]struct{} // until their goroutines have ended
}

// New makes an engine. It starts nothing and sets no handler before Declare.
func New(cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:   cfg,
		codec: newCodec(),
		total: newTotals(cfg.Obs),
		slots: make(map[string]int),
		live:  make(map[*Session]struct{}),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.types.Store(&map[string]*declared{})
	return e, nil
}

// Declare makes a message type known: it can be sent from now on and, unless it
// is SendOnly, peers that send it are listened to.
func (e *Engine) Declare(spec TypeSpec) error {
	if err := spec.validate(); err != nil {
		return err
	}
	t := newDeclared(spec.withDefaults(), e.cfg.Network, e.cfg.Obs, e.total)
	e.handlers.Lock()
	defer e.handlers.Unlock()
	if err := e.setType(t); err != nil {
		return err
	}
	if !spec.SendOnly {
		e.listen(t)
	}
	return nil
}

func (e *Engine) listen(t *declared) {
	e.cfg.Host.SetStreamHandler(t.pid, func(st network.Stream) { e.accept(t, st) })
}

// Accept has peers that send a declared type listened to.
func (e *Engine) Accept(name string) error {
	e.handlers.Lock()
	defer e.handlers.Unlock()
	t := (*e.types.Load())[name]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrUnknownType, name)
	}
	e.listen(t)
	return nil
}

// Refuse undoes Accept: the type can be sent, and peers that send it are told
// that it is not supported. Their streams are reset. Unknown names are ignored.
func (e *Engine) Refuse(name string) {
	e.handlers.Lock()
	t := (*e.types.Load())[name]
	if t != nil {
		e.cfg.Host.RemoveStreamHandler(t.pid)
	}
	e.handlers.Unlock()
	if t == nil {
		return
	}
	for _, s := range e.sessions() {
		s.resetInbound(t)
	}
}

func (e *Engine) setType(t *declared) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	types := maps.Clone(*e.types.Load())
	if types[t.spec.Name] != nil {
		return fmt.Errorf("%w: %s", ErrDeclared, t.spec.Name)
	}
	slot, ok := e.slots[t.spec.Name]
	if !ok {
		slot = len(e.slots)
		e.slots[t.spec.Name] = slot
	}
	t.slot = slot
	types[t.spec.Name] = t
	e.types.Store(&types)
	return nil
}

// Retract makes a message type unknown again. What is queued of it is dropped
// and its streams are reset. Unknown names are ignored.
func (e *Engine) Retract(name string) {
	t, live := e.takeType(name)
	for _, s := range live {
		s.retract(t)
	}
}

func (e *Engine) takeType(name string) (t *declared, live []*Session) {
	e.handlers.Lock()
	defer e.handlers.Unlock()
	e.mu.Lock()
	types := maps.Clone(*e.types.Load())
	t = types[name]
	delete(types, name)
	e.types.Store(&types)
	live = slices.Collect(maps.Keys(e.live))
	e.mu.Unlock()
	if t == nil {
		return nil, nil
	}
	t.retracted.Store(true)
	e.cfg.Host.RemoveStreamHandler(t.pid)
	return t, live
}

// sessions lists those whose goroutines have not ended, in no order.
func (e *Engine) sessions() []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.live))
}

// accept is the stream handler of a type.
func (e *Engine) accept(t *declared, st network.Stream) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		st.ResetWithError(network.StreamShutdown)
		return
	}
	e.wg.Add(1)
	e.mu.Unlock()
	defer e.wg.Done()
	s := e.cfg.Peers.SessionOn(e.ctx, st.Conn())
	if s == nil {
		e.refuse(st, network.StreamGated, refuseNoSession)
		return
	}
	s.receive(t, st)
}

// Why an inbound stream is reset before anything is read from it.
const (
	refuseNoSession = "no_session"
	refuseExcess    = "excess"
	refuseStorm     = "storm"
	refuseClosed    = "closed"
)

func (e *Engine) refuse(st network.Stream, code network.StreamErrorCode, why string) {
	e.cfg.Obs.Counter(obs.StreamsRefused + why).Inc(1)
	st.ResetWithError(code)
}

// penalise counts a fault and tells the owner of it.
func (e *Engine) penalise(p peer.ID, f Fault) {
	e.cfg.Obs.Counter(obs.Faults + f.String()).Inc(1)
	if e.cfg.Penalise != nil {
		e.cfg.Penalise(p, f)
	}
}

func (e *Engine) countDropped(why DropReason, n int) {
	e.cfg.Obs.Counter(obs.SendDropped + why.String()).Inc(int64(n))
}

// Close says goodbye to all peers with ReasonShuttingDown, writes what is
// queued within FlushTimeout, and waits for every goroutine until ctx ends.
// What has not ended by then is named in a *StuckError. It is idempotent.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	live := slices.Collect(maps.Keys(e.live))
	types := *e.types.Load()
	e.mu.Unlock()
	for _, t := range types {
		e.cfg.Host.RemoveStreamHandler(t.pid)
	}
	for _, s := range live {
		s.end(handshake.ReasonShuttingDown, false)
	}
	ended := make(chan struct{})
	go func() {
		for _, s := range live {
			<-s.Done()
		}
		e.cancel() // streams that wait for a handshake
		e.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		e.cancel()
		return &StuckError{Types: stuck(types), Err: context.Cause(ctx)}
	}
}

func stuck(types map[string]*declared) (names []string) {
	for name, t := range types {
		if t.delivering.Load() > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
