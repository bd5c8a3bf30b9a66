package swarm

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/random"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// Engine spreads large messages. Make one with New. All methods may be called from any
// goroutine.
type Engine struct {
	cfg      Config
	protocol protocol.ID
	notifiee network.Notifiee

	life context.Context // ends when Close begins
	stop context.CancelFunc
	poke chan struct{} // to run: the scheduler wants to be woken earlier; capacity 1

	wireIn, wireOut metrics.Counter // bytes on all streams

	wg sync.WaitGroup // every goroutine

	// mu makes whoever holds it the owner of the scheduler. Nothing under it blocks:
	// frames go into queues, and what calls out is done afterwards.
	mu       sync.Mutex
	started  bool
	closed   bool
	sched    *sched.State
	types    map[string]*messageType
	peers    map[peer.ID]*remote
	armed    time.Time               // when run wakes the scheduler next
	exported map[string]sched.Counts // what the metrics were told of
	checking map[string]int          // calls of Headers.Check that run, by type

	progress *progress // nil without Config.Progress
}

// Protocol is the libp2p protocol ID of the streams.
func Protocol(network string) protocol.ID { return protocol.ID("/neb/" + network + "/swarm/1.0.0") }

// New checks cfg. It starts nothing.
func New(cfg Config) (*Engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, protocol: Protocol(cfg.Network), poke: make(chan struct{}, 1),
		sched: sched.New(sched.Config{Memory: cfg.Memory}, random.Or(cfg.Rand)),
		types: make(map[string]*messageType), peers: make(map[peer.ID]*remote), exported: make(map[string]sched.Counts), checking: make(map[string]int),
	}
	e.wireIn, e.wireOut = cfg.Obs.Counter(obs.SwarmWireIn), cfg.Obs.Counter(obs.SwarmWireOut)
	e.life, e.stop = context.WithCancel(context.Background())
	e.notifiee = &network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) { e.disconnected(c.RemotePeer()) }}
	if cfg.Progress != nil {
		e.progress = newProgress()
	}
	return e, nil
}

// Start takes streams. Errors: ErrStarted, ErrClosed.
func (e *Engine) Start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return ErrClosed
	case e.started:
		return ErrStarted
	}
	e.started = true
	e.cfg.Host.SetStreamHandler(e.protocol, e.incoming)
	e.cfg.Host.Network().Notify(e.notifiee)
	e.spawnLocked(e.run)
	if e.progress != nil {
		e.spawnLocked(e.report)
	}
	return nil
}

// spawnLocked runs f in a goroutine that Close waits for, unless that has begun.
func (e *Engine) spawnLocked(f func()) bool {
	if e.closed {
		return false
	}
	e.wg.Go(f)
	return true
}

// run wakes the scheduler in time.
func (e *Engine) run() {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	export := time.NewTicker(exportEvery)
	defer export.Stop()
	defer e.export()
	for {
		select {
		case <-e.life.Done():
			return
		case <-export.C:
			e.export()
			e.measured()
		case <-e.poke: // unlock
			e.mu.Lock()
			at := e.armed
			e.mu.Unlock()
			if !at.IsZero() {
				t.Reset(max(time.Until(at), 0))
			}
		case <-t.C:
			e.mu.Lock()
			e.armed = time.Time{}
			e.mu.Unlock()
			e.step(sched.Event{Kind: sched.Wake})
		}
	}
}

// measured tells the scheduler how far away the peers are.
func (e *Engine) measured() {
	if e.cfg.Budgets == nil {
		return
	}
	var evs []sched.Event
	for p, rtt := range e.cfg.Budgets.RTTs() {
		evs = append(evs, sched.Event{Kind: sched.Path, Peer: p, RTT: rtt})
	}
	e.step(evs...)
}

// step has the scheduler take events, and does what it says.
func (e *Engine) step(evs ...sched.Event) (refused bool) {
	var todo []sched.Effect
	e.mu.Lock()
	for _, ev := range evs {
		todo = e.stepLocked(ev, todo)
	}
	e.unlock()
	return e.finish(todo)
}

// stepLocked appends to todo what is to be done without the lock.
func (e *Engine) stepLocked(ev sched.Event, todo []sched.Effect) []sched.Effect {
	if e.closed {
		return todo
	}
	for _, f := range e.sched.Step(ev, time.Now()) {
		r := e.peers[f.Peer]
		switch f.Kind {
		case sched.Say:
			if r != nil {
				r.sayLocked(f.Frame)
			}
		case sched.Ready:
			if r != nil {
				r.ready = true
				r.startLocked()
			}
		case sched.Give:
			if r != nil {
				r.chunk = f.Frame
			}
		case sched.Check:
			m, t := f.Msg, e.types[f.Msg.Manifest.Type]
			e.spawnLocked(func() { e.check(m, t) })
		case sched.Ended:
			if e.progress != nil {
				e.progress.forget(f.Msg.ID)
			}
		default:
			todo = append(todo, f)
		}
	}
	return todo
}

// unlock gives up mu, and sees to it that the scheduler is woken in time.
func (e *Engine) unlock() {
	w := e.sched.Wake()
	early := !w.IsZero() && (e.armed.IsZero() || w.Before(e.armed))
	if early {
		e.armed = w
	}
	e.mu.Unlock()
	if early {
		select {
		case e.poke <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// finish does what calls out.
func (e *Engine) finish(todo []sched.Effect) (refused bool) {
	for _, f := range todo {
		switch f.Kind {
		case sched.Validate:
			e.whole(f.Msg, f.Peer)
		case sched.Refused:
			refused = true
		case sched.Blame, sched.Ban:
			e.cfg.Obs.Counter(obs.SwarmFaults + f.Fault.String()).Inc(1)
			if e.cfg.Report != nil {
				typ := ""
				if f.Msg != nil {
					typ = f.Msg.Manifest.Type
				}
				e.cfg.Report(f.Peer, typ, f.Fault.String(), f.Kind == sched.Ban)
			}
		case sched.Invalid:
			if e.cfg.Invalid != nil {
				e.cfg.Invalid(headerOf(f.Msg.Manifest, f.Msg.Digest, f.Msg.From))
			}
		}
	}
	return refused
}

// Set makes a message type known, or gives it other properties. It can be published from
// then on; with receive, this node takes it. The spec is taken as it is, with its
// defaults; messages have Broadcast.MaxSize bytes and their encoding. Errors: ErrClosed,
// and what Spec.Validate finds.
func (e *Engine) Set(spec msgtype.Spec, receive bool, h Headers) error {
	spec = spec.WithDefaults()
	if err := spec.Validate(); err != nil {
		return err
	}
	size := spec.Broadcast.MaxSize + msgtype.BroadcastOverhead
	if size > wire.MaxSize {
		return fmt.Errorf("%w: broadcasts of %s of up to %d bytes", ErrTooLarge, spec.Name, spec.Broadcast.MaxSize)
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return ErrClosed
	}
	e.types[spec.Name] = &messageType{spec, h, e.cfg.Obs.Labels("swarm", "type", spec.Name)}
	todo := e.stepLocked(sched.Event{Kind: sched.Declare, Spec: &sched.Spec{
		Type: spec.Name, MaxSize: size, Joined: receive, Headers: h.Check != nil, HeaderWait: spec.Broadcast.ParkTime,
	}}, nil)
	e.unlock()
	e.finish(todo)
	return nil
}

// Remove forgets a type, and the messages that are under way.
func (e *Engine) Remove(typ string) {
	e.mu.Lock()
	delete(e.types, typ)
	todo := e.stepLocked(sched.Event{Kind: sched.Retract, Type: typ}, nil)
	e.unlock()
	e.finish(todo)
}

// Close ends all streams and waits for every goroutine, or until ctx ends; then its
// error names the types whose Headers.Check has not returned.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	started := e.started
	for _, r := range e.peers {
		e.endLocked(r)
	}
	e.mu.Unlock()
	e.stop()
	if first && started {
		e.cfg.Host.RemoveStreamHandler(e.protocol)
		e.cfg.Host.Network().StopNotify(e.notifiee)
	}
	if lifecycle.Ended(ctx, lifecycle.Go(e.wg.Wait)) {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.checking) > 0 {
		types := slices.Sorted(maps.Keys(e.checking))
		return fmt.Errorf("checks of headers of %s have not returned: %w", strings.Join(types, ", "), ctx.Err())
	}
	return fmt.Errorf("streams have not ended: %w", ctx.Err())
}
