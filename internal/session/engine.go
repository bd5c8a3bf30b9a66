package session

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/multistream"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Engine keeps the sessions of one host. It is safe for concurrent use.
type Engine struct {
	cfg     Config
	codec   *codec
	budgets *pacing.Budgets
	total   *totals
	start   time.Time
	queued  atomic.Int64 // bytes, over all sessions

	unpacked unpackAccount

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // stream handlers, and whatever outlives its session

	protocol    protocol.ID // of message streams
	negotiation []byte      // of it: goes out with the first data; the answer is read when a stream ends
	reg         registry
	announced   announced

	mu     sync.Mutex // guards the fields below
	closed bool
	live   map[*Session]struct{} // until their goroutines have ended
}

// New makes an engine, which takes message streams from then on.
func New(cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:   cfg,
		codec: newCodec(),
		total: newTotals(cfg.Obs),
		start: time.Now(),
		live:  make(map[*Session]struct{}),

		budgets: cfg.Budgets,
	}
	if e.budgets == nil {
		e.budgets = pacing.New(cfg.Host)
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.protocol = Protocol(cfg.Network)
	e.negotiation = multistream.Lines(e.protocol)
	e.reg.init()
	cfg.Host.SetStreamHandler(e.protocol, e.accept)
	return e, nil
}

// sessions lists those whose goroutines have not ended, in no order.
func (e *Engine) sessions() []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.live))
}

// accept is the handler of message streams.
func (e *Engine) accept(st network.Stream) {
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
	s.receive(st)
}

// Why an inbound stream is reset before anything is read from it.
const (
	refuseNoSession = "no_session"
	refuseExcess    = "excess"
	refuseStorm     = "storm"
	refuseClosed    = "closed"
	refuseUnnamed   = "unnamed"
	refuseWithdrawn = "withdrawn"
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
	e.mu.Unlock()
	e.cfg.Host.RemoveStreamHandler(e.protocol)
	for _, s := range live {
		s.end(handshake.ReasonShuttingDown, false)
	}
	if lifecycle.Ended(ctx, lifecycle.Go(func() {
		for _, s := range live {
			<-s.Done()
		}
		e.cancel() // streams that wait for a handshake
		e.wg.Wait()
		if e.cfg.Budgets == nil {
			e.budgets.Close()
		}
	})) {
		return nil
	}
	e.cancel()
	return &StuckError{Types: stuck(*e.reg.byNumber.Load()), Err: context.Cause(ctx)}
}

func stuck(types []*messageType) (names []string) {
	for _, t := range types {
		if t != nil && t.delivering.Load() > 0 {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return names
}
