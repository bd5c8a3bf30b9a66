package gossip

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/random"
)

// Engine broadcasts. Make one with New. All methods may be called from any
// goroutine, and none from AppScore, Member or MessageID.
type Engine struct {
	cfg    Config
	author *author // nil in unsigned networks
	keys   *keyring

	// calls counts what is to end before the streams do: calls of the API and
	// judgements. streams counts readers, writers and openings.
	calls, streams *group
	work           context.Context // ends when Close begins
	stopWork       context.CancelFunc
	life           context.Context // ends when the streams are to end
	stopLife       context.CancelFunc
	poke           chan struct{} // to run: the router wants to be woken earlier; capacity 1
	ended          chan struct{} // closed when run has returned

	started    atomic.Bool
	trace      atomic.Pointer[Trace] // nil unless somebody traces
	openTopics atomic.Int64
	pressing   atomic.Bool   // router.Pressing as of the last step
	writing    atomic.Int64  // messages and controls that wait to be written
	drained    chan struct{} // to Close: writing has become 0; capacity 1

	table atomic.Pointer[table] // replaced under ctl, never changed in place

	// ctl orders what changes the set of topics.
	ctl     sync.Mutex
	closed  bool
	listens bool // stream handlers are set
	closer  sync.Once
	err     error // of Close

	// mu makes whoever holds it the owner of the router. The goroutine that has
	// something to tell the router does so itself: a goroutine of the router's own
	// would cost two switches for each message. Nothing under it blocks: messages go
	// into queues, and what is to be validated is validated afterwards.
	mu     sync.Mutex
	router *router.Router
	peers  map[peer.ID]*remote
	at     time.Time        // of all steps before the next unlock; zero before the first of them
	relief chan struct{}    // to those who wait for full queues: closed when they are to look again
	armed  time.Time        // when run wakes the router next
	resets []network.Stream // to be ended as soon as mu is free
	fates  []router.Effect  // to be told to Config.Large then
}

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
		calls: newGroup(), streams: newGroup(), keys: newKeyring(),
		poke:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		drained: make(chan struct{}, 1),
		peers:   make(map[peer.ID]*remote),
		relief:  make(chan struct{}),
	}
	cfg.MessageID = e.guardID(cfg.MessageID)
	e.cfg = cfg.withDefaults()
	if e.cfg.Identity == Signed {
		var err error
		if e.author, err = newAuthor(e.cfg.Host); err != nil {
			return nil, err
		}
	}
	e.work, e.stopWork = context.WithCancel(context.Background())
	e.life, e.stopLife = context.WithCancel(context.Background())
	e.table.Store(&table{byType: map[string]*topic{}, byName: map[string]*topic{}})
	e.router = router.New(e.routerConfig(), random.Or(cfg.Rand))
	return e, nil
}

func (e *Engine) routerConfig() router.Config {
	c := &e.cfg
	return router.Config{
		Self: c.Host.ID(), Mesh: c.Params.mesh(), Score: c.Params.score(),
		SeenTTL: c.SeenTTL, MaxSeen: c.SeenMessages, HistoryBytes: c.HistoryBytes,
		Pending: c.Pending, PendingBytes: c.PendingBytes,
		Parked: c.Parked, ParkedBytes: c.ParkedBytes, ParkedPerPeer: c.ParkedPerPeer, ParkedPerKey: c.ParkedPerKey,
	}
}

// now is here so that one glance shows that all time is the runtime's, which a
// test's bubble replaces.
func now() time.Time { return time.Now() }

func (e *Engine) byType(typ string) *topic  { return e.table.Load().byType[typ] }
func (e *Engine) byName(name string) *topic { return e.table.Load().byName[name] }

func (e *Engine) topics() []*topic {
	return slices.Collect(maps.Values(e.table.Load().byType))
}

// outcome is what a step had for effects that its caller has to see to.
type outcome struct {
	handed, full int // peers whose queue took the message of the step, and did not
	short        int // peers for which it is too large for GossipSub, which is their only way
	refused      string
	validate     []*router.Message
	validateNow  []*router.Message // is to be validated at once, without waiting
	connect      []router.Effect
}

// stepLocked has the router take an event, and does what it says but for validating.
func (e *Engine) stepLocked(ev router.Event, out *outcome) {
	if e.at.IsZero() {
		e.at = now()
	}
	trace := e.trace.Load()
	if trace != nil {
		e.traceEvent(*trace, ev)
	}
	var then []router.Event // the router's effects are good until the next step
	for _, f := range e.router.Step(ev, e.at) {
		switch f.Kind {
		case router.Send:
			switch ok, full := e.sendLocked(f); {
			case !ok && len(f.Msg.Frame) > e.cfg.largestFrame():
				out.short++
				then = append(then, router.Event{Kind: router.Dropped, Peer: f.Peer, Msg: f.Msg})
			case !ok:
				out.full++
				then = append(then, router.Event{Kind: router.Dropped, Peer: f.Peer, Msg: f.Msg})
			case full:
				then = append(then, router.Event{Kind: router.Full, Peer: f.Peer, On: true})
				fallthrough
			default:
				out.handed++
				if t := e.byName(f.Msg.Topic); trace != nil && t != nil {
					(*trace)(e.message(t, f.Msg), StepSent, f.Peer, "")
				}
			}
		case router.Say:
			if r := e.peers[f.Peer]; r != nil {
				r.out.say(f.Control)
			}
		case router.Cancel:
			if r := e.peers[f.Peer]; r != nil && r.out.cancel(f.Msg) {
				then = append(then, router.Event{Kind: router.Full, Peer: f.Peer})
			}
		case router.Validate:
			out.validate = append(out.validate, f.Msg)
		case router.ValidateNow:
			out.validateNow = append(out.validateNow, f.Msg)
		case router.Refused:
			out.refused = f.Reason
		case router.Spread, router.Ended:
			e.fates = append(e.fates, f)
		case router.Faulted:
			e.countFault(f.Reason)
		case router.Connect:
			out.connect = append(out.connect, f)
		case router.Slow:
			e.slowLocked(f.Peer)
		case router.Eased:
			e.relieveLocked()
		}
	}
	for _, next := range then {
		e.stepLocked(next, out)
	}
}

// sendLocked puts a message into a peer's queue, and reports whether it could, and
// whether the queue has become full by it.
func (e *Engine) sendLocked(f router.Effect) (ok, full bool) {
	r := e.peers[f.Peer]
	if r == nil {
		return false, false
	}
	if f.Msg.Carried && r.access == member && e.takesLarge(r.id, f.Msg) {
		return true, false // it hears of it there
	}
	if ok, full = r.out.push(f.Msg); !ok {
		return false, false
	}
	if t := e.byName(f.Msg.Topic); t != nil {
		t.own.bytesOut += int64(len(f.Msg.Data))
		r.sent.add(f.Msg.Data)
	}
	return true, full
}

// step is stepLocked by itself. What is to be validated is validated in goroutines.
func (e *Engine) step(evs ...router.Event) outcome {
	var out outcome
	e.mu.Lock()
	for _, ev := range evs {
		e.stepLocked(ev, &out)
	}
	e.unlock()
	e.validateAll(&out)
	return out
}

// resetLocked ends a stream once mu is free: that writes to the connection.
func (e *Engine) resetLocked(s network.Stream) {
	if s != nil {
		e.resets = append(e.resets, s)
	}
}

// unlock gives up mu, and sees to it that the router is woken in time. It returns the
// large messages that could not be passed on.
func (e *Engine) unlock() (unspread []*router.Message) {
	resets, fates := e.resets, e.fates
	e.resets, e.fates, e.at = nil, nil, time.Time{}
	if p := e.router.Pressing(); p != e.pressing.Load() {
		e.pressing.Store(p)
	}
	w := e.router.Wake()
	early := !w.IsZero() && (e.armed.IsZero() || w.Before(e.armed))
	if early {
		e.armed = w
	}
	e.mu.Unlock()
	for _, s := range resets {
		_ = s.Reset()
	}
	unspread = e.tellLarge(fates)
	if early {
		select {
		case e.poke <- struct{}{}:
		default:
		}
	}
	return unspread
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
	sub, err := e.cfg.Host.EventBus().Subscribe([]any{new(event.EvtPeerProtocolsUpdated), new(event.EvtPeerIdentificationCompleted)})
	if err != nil {
		return err
	}
	e.cfg.Host.Network().Notify((*notifiee)(e))
	e.started.Store(true)
	if len(e.topics()) > 0 {
		e.listenLocked()
	}
	go e.run(sub)
	return nil
}

// run is the engine's own goroutine: the heartbeat, and peers whose protocols
// become known.
func (e *Engine) run(sub event.Subscription) {
	defer close(e.ended)
	defer sub.Close()
	beat := time.NewTicker(e.cfg.Params.Heartbeat)
	defer beat.Stop()
	slow := time.NewTicker(e.cfg.ScoreInterval)
	defer slow.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for {
		select {
		case <-e.work.Done():
			return
		case <-beat.C:
			e.beat()
			e.probe()
		case <-slow.C:
			e.tick()
		case <-e.poke: // unlock
			e.mu.Lock()
			at := e.armed
			e.mu.Unlock()
			if !at.IsZero() {
				wake.Reset(max(at.Sub(now()), 0))
			}
		case <-wake.C:
			e.mu.Lock()
			e.armed = time.Time{}
			e.mu.Unlock()
			e.step(router.Event{Kind: router.Wake})
		case ev, ok := <-sub.Out():
			if !ok {
				return
			}
			switch ev := ev.(type) {
			case event.EvtPeerProtocolsUpdated:
				e.protocolsChanged(ev.Peer)
			case event.EvtPeerIdentificationCompleted:
				e.protocolsChanged(ev.Peer)
			}
		}
	}
}

// beat is the heartbeat.
func (e *Engine) beat() {
	var evs []router.Event
	e.mu.Lock()
	for p, r := range e.peers {
		if l := r.out.beat(); l.Busy > 0 {
			evs = append(evs, router.Event{Kind: router.Loaded, Peer: p, Load: l})
		}
	}
	e.mu.Unlock()
	e.step(append(evs, router.Event{Kind: router.Tick})...)
}

// tick is done every ScoreInterval.
func (e *Engine) tick() {
	if e.openTopics.Load() > 0 {
		e.admitForeigners()
	}
	e.refreshScores()
	e.exportCounts()
}

// spawn runs f in a goroutine that Close waits for, and reports whether it did.
func (e *Engine) spawn(g *group, f func()) bool {
	if !g.enter() {
		return false
	}
	go func() {
		defer g.leave()
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
	// What follows has time of its own, whatever a validator does.
	half, cancel := lifecycle.Share(ctx, 2)
	defer cancel()
	lifecycle.Ended(half, idle)
	e.ctl.Lock()
	e.closed = true
	if e.listens {
		e.unlistenLocked()
	}
	e.ctl.Unlock()
	if e.started.Load() {
		lifecycle.Ended(ctx, e.ended)
		e.cfg.Host.Network().StopNotify((*notifiee)(e))
	}
	e.drain(ctx)
	e.stopLife()
	gone := e.streams.close()
	closed := e.closeStreams()
	var left []string
	if !lifecycle.Ended(ctx, gone) || !lifecycle.Ended(ctx, closed) {
		left = append(left, "streams")
	}
	if !lifecycle.Ended(ctx, idle) {
		left = append(left, e.busy()...)
	}
	e.giveUp()
	if len(left) > 0 {
		return &CloseError{What: left, Err: ctx.Err()}
	}
	return nil
}

// giveUp counts what is deferred, and what waits for a first peer.
func (e *Engine) giveUp() {
	lost := make(map[*topic]int)
	e.mu.Lock()
	for _, t := range e.topics() {
		if v, _ := e.router.Topic(t.Name); v.Waiting > 0 {
			lost[t] = v.Waiting
		}
	}
	e.router.Step(router.Event{Kind: router.Stop}, now())
	e.mu.Unlock()
	e.exportCounts()
	for t, n := range lost {
		e.cfg.Obs.Log("gossip").WithField("type", t.Type).WithField("messages", n).
			Warn("closed before a peer came: broadcasts were sent to nobody")
	}
}

// drainTime is how long Close waits for what is queued to be written.
const drainTime = time.Second

// drain waits until nothing is queued for any peer.
func (e *Engine) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for e.writing.Load() > 0 {
		select {
		case <-e.drained: // wrote
		case <-ctx.Done():
			return
		}
	}
}

// wrote counts what was written or given up.
func (e *Engine) wrote(n int) {
	if e.writing.Add(-int64(n)) == 0 {
		select {
		case e.drained <- struct{}{}:
		default:
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
