package gossip

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
)

// Engine broadcasts. Make one with New. All methods may be called from any
// goroutine, and none from AppScore, Member or MessageID.
type Engine struct {
	cfg     Config
	members *members
	faults  faults
	unsent  *away    // own messages that nobody was handed, by ID
	flights sync.Map // ID → chan struct{}: own messages that are being published

	// calls counts what uses the lanes: calls of the API, validators, and the
	// goroutines of spawn. Lanes are closed when it is empty.
	calls    *gate
	work     context.Context // ends when Close begins
	stopWork context.CancelFunc
	wake     chan struct{} // to run: something changed; holds one
	ended    chan struct{} // closed when run has returned

	started    atomic.Bool
	openTopics atomic.Int64

	table atomic.Pointer[table] // replaced under ctl, never changed in place

	parkMu  sync.Mutex // guards parking
	parking *parking

	// ctl orders what changes the set of topics. It is held while a router's
	// loop is asked; the loop never takes it.
	ctl    sync.Mutex
	main   *lane // nil until a type is declared that is not bulk
	bulk   *lane // nil until a bulk type is declared
	direct map[peer.ID]peer.AddrInfo
	closed bool
	closer sync.Once
	err    error // of Close
}

// maxUnsent is how many own messages that nobody was handed are remembered, so
// that publishing them again is no duplicate.
const maxUnsent = 1 << 12

// table finds topics.
type table struct {
	byType, byName map[string]*topic
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		faults: faults{m: make(map[peer.ID]account)},
		unsent: newAway(maxUnsent, metrics.NilCounter{}),
		calls:  newGate(),
		wake:   make(chan struct{}, 1),
		ended:  make(chan struct{}),
		direct: make(map[peer.ID]peer.AddrInfo),
	}
	cfg.MessageID = e.guardID(cfg.MessageID)
	e.cfg = cfg.withDefaults()
	e.work, e.stopWork = context.WithCancel(context.Background())
	e.table.Store(&table{byType: map[string]*topic{}, byName: map[string]*topic{}})
	e.members = newMembers(&e.cfg, func() bool { return e.openTopics.Load() > 0 })
	e.parking = newParking(parkLimits{
		total: e.cfg.Parked, bytes: e.cfg.ParkedBytes,
		perPeer: e.cfg.ParkedPerPeer, perKey: e.cfg.ParkedPerKey,
	})
	for _, d := range e.cfg.Direct {
		e.direct[d.ID] = d
	}
	app := e.cfg.AppScore
	e.cfg.AppScore = func(p peer.ID) float64 { return e.appScore(app, p) + e.faults.score(p, now()) }
	return e, nil
}

func (e *Engine) byType(typ string) *topic  { return e.table.Load().byType[typ] }
func (e *Engine) byName(name string) *topic { return e.table.Load().byName[name] }

func (e *Engine) topics() []*topic {
	return slices.Collect(maps.Values(e.table.Load().byType))
}

// lanes returns the lanes that are open, the main one first.
func (e *Engine) lanes() []*lane {
	e.ctl.Lock()
	defer e.ctl.Unlock()
	return e.lanesLocked()
}

func (e *Engine) lanesLocked() []*lane {
	var ls []*lane
	for _, l := range []*lane{e.main, e.bulk} {
		if l != nil {
			ls = append(ls, l)
		}
	}
	return ls
}

// stir wakes run. It may be called from a router's loop.
func (e *Engine) stir() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Start opens what the declared types need. Types may be declared and joined
// before and after it; until the first one the engine speaks with nobody. After
// an error other than ErrStarted, Close the engine.
func (e *Engine) Start() error {
	if !e.calls.enter() {
		return ErrClosed
	}
	defer e.calls.leave()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	if e.closed {
		return ErrClosed
	}
	if e.started.Load() {
		return ErrStarted
	}
	e.cfg.Host.Network().Notify(notifiee{e.members})
	var errs []error
	for _, t := range e.topics() {
		errs = append(errs, e.openLocked(t))
	}
	e.started.Store(true)
	go e.run()
	return errors.Join(errs...)
}

// run is the engine's own goroutine: it hands out what had to wait, greets new
// peers, and forgets what is too old.
func (e *Engine) run() {
	defer close(e.ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-e.wake: // stir
		case <-tick.C:
			e.tick()
		case <-e.work.Done():
			return
		}
		for _, t := range e.topics() {
			e.flush(t)
		}
		for _, l := range e.lanes() {
			l.greet()
		}
	}
}

// tick is done every second.
func (e *Engine) tick() {
	e.expireParked(nil)
	e.faults.expire(now())
	e.unsent.expire(now(), e.cfg.SeenTTL)
	for _, t := range e.topics() {
		if t.ready.Load() {
			t.l.askForAway(t)
		}
		t.away.expire(now(), e.cfg.SeenTTL)
		t.missed.expire(now(), e.cfg.SeenTTL)
		e.lose(t, t.pending.expire(now()))
	}
}

// lose gives up own messages that met no peer in time. They may be published
// again.
func (e *Engine) lose(t *topic, ms []*pubsub.Message) {
	for _, m := range ms {
		e.unsent.add(m.ID, noSum(), now(), "")
	}
	t.n.unsent.Inc(int64(len(ms)))
}

// spawn runs f in a goroutine that Close waits for, and reports whether it did.
func (e *Engine) spawn(f func()) bool {
	if !e.calls.enter() {
		return false
	}
	go func() {
		defer e.calls.leave()
		f()
	}()
	return true
}

// Close stops taking calls, ends the contexts of validators, waits for them and
// for all else, for a second at most for what is queued for peers to be written,
// and ends all gossip streams. The host stays open. What is deferred then, or
// waits for a first peer, is counted as expired or unsent. If ctx ends first,
// what is left is ended without waiting, and a *CloseError names it. A second
// Close returns what the first did.
func (e *Engine) Close(ctx context.Context) error {
	e.closer.Do(func() { e.err = e.close(ctx) })
	return e.err
}

func (e *Engine) close(ctx context.Context) error {
	idle := e.calls.close()
	e.stopWork()
	var left []string
	if !ended(ctx, idle) {
		left = e.busy()
	}
	if e.started.Load() {
		ended(ctx, e.ended)
		e.cfg.Host.Network().StopNotify(notifiee{e.members})
	}
	e.ctl.Lock()
	e.closed = true
	e.ctl.Unlock()
	e.drain(ctx)
	for _, l := range e.lanes() {
		if !ended(ctx, l.close()) {
			left = append(left, "streams")
		}
	}
	for _, t := range e.topics() {
		e.expireParked(t)
		if lost := t.pending.drain(); len(lost) > 0 {
			e.lose(t, lost)
			e.cfg.Obs.Log("gossip").WithField("type", t.Type).WithField("messages", len(lost)).
				Warn("closed before a peer came: broadcasts were sent to nobody")
		}
	}
	if len(left) > 0 {
		return &CloseError{What: left, Err: ctx.Err()}
	}
	return nil
}

// drainTime is how long Close waits for what is queued to be written.
const drainTime = time.Second

// drain waits until nothing is queued for any peer.
func (e *Engine) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for _, l := range e.lanes() {
		if !ended(ctx, l.backlog.empty()) {
			return
		}
	}
}

// busy names what runs on.
func (e *Engine) busy() []string {
	var names []string
	for _, t := range e.topics() {
		if t.running.Load() > 0 {
			names = append(names, t.Type)
		}
	}
	if len(names) == 0 {
		names = []string{"calls"}
	}
	slices.Sort(names)
	return names
}

func ended(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
