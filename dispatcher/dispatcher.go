package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// Dispatcher fans messages out to the subscribers of their types. Make one
// with New; it is safe for concurrent use.
type Dispatcher struct {
	cfg Config
	obs *obs.Obs
	log *logrus.Entry

	state    atomic.Uint32                    // a state
	rooms    atomic.Pointer[map[string]*room] // copied on write, under mu
	roomList atomic.Pointer[[]*room]          // the same rooms, in order of creation
	other    atomic.Uint64                    // messages of types without a room
	panics   atomic.Uint64
	meters   meters

	ready      readyList
	quit       chan struct{}         // closed by Stop: end the loop at once
	draining   atomic.Bool           // end the loop when everything is handed over
	over       atomic.Bool           // quit is closed
	loopDone   chan struct{}         // closed by the loop
	lost       map[string]int        // the loop's, then for Stop: hand-overs that did not happen, by type
	delivering atomic.Pointer[entry] // the subscriber whose code the loop runs
	ctx        context.Context       // of handlers
	cancel     context.CancelFunc

	mu      sync.Mutex // guards what follows, and serialises Start, Stop, Register and Deregister
	former  []ending   // deregistered, code may still be running
	stopErr error
	done    chan struct{} // closed when stopped
}

type state uint32

const (
	stateNew state = iota
	stateRunning
	stateStopped
)

func (s state) err() error {
	switch s {
	case stateNew:
		return ErrNotStarted
	case stateStopped:
		return ErrClosed
	}
	return nil
}

// New returns a dispatcher that has not started. It starts nothing, so one
// that is not used needs no Stop.
func New(cfg Config, opts ...Option) (*Dispatcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	d := &Dispatcher{
		cfg: cfg.withDefaults(), obs: obs.New(o.log, o.reg),
		quit: make(chan struct{}), loopDone: make(chan struct{}), done: make(chan struct{}),
		ready: readyList{wake: make(chan struct{}, 1)},
	}
	d.log = d.obs.Log("dispatcher")
	d.rooms.Store(&map[string]*room{})
	d.roomList.Store(&[]*room{})
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Register adds subscribers. It adds all of them or, with an error that joins
// a *SubscriberError for each bad one, none. A subscriber gets the messages
// that are put after Register has returned.
//
// It may be called before Start; after Stop the error is ErrClosed.
func (d *Dispatcher) Register(subs ...Subscriber) error {
	var (
		added []*entry
		rooms []*room
		errs  []error
	)
	for _, sub := range subs {
		e, r, err := d.prepare(sub)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		added, rooms = append(added, e), append(rooms, r)
	}
	if len(errs) == 0 {
		if err := d.activate(added, rooms); err == nil {
			return nil
		} else {
			errs = append(errs, err)
		}
	}
	for i, e := range added {
		rooms[i].subs.CompareAndDelete(e.id, e)
		if e.undo != nil {
			e.undo()
		}
	}
	return errors.Join(errs...)
}

// prepare reserves a subscriber's identity and tells it where to signal. It
// runs user code, so no lock is held.
func (d *Dispatcher) prepare(sub Subscriber) (*entry, *room, error) {
	e, typ, err := d.newEntry(sub)
	if err != nil {
		return nil, nil, err
	}
	r, err := d.roomFor(typ)
	if err != nil {
		return nil, nil, &SubscriberError{e.id, typ, err}
	}
	if _, taken := r.subs.LoadOrStore(e.id, e); taken {
		return nil, nil, &SubscriberError{e.id, typ, ErrDuplicateSubscriber}
	}
	room := func() {
		e.signal.Store(true)
		r.wake()
	}
	if err := d.connect(e, sub, room); err != nil {
		r.subs.CompareAndDelete(e.id, e)
		return nil, nil, &SubscriberError{e.id, typ, err}
	}
	return e, r, nil
}

func (d *Dispatcher) roomFor(typ string) (*room, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := state(d.state.Load()); s == stateStopped {
		return nil, s.err()
	}
	if r := (*d.rooms.Load())[typ]; r != nil {
		return r, nil
	}
	r := &room{d: d, name: typ, seeds: newSeeds(), weight: 1}
	rooms := maps.Clone(*d.rooms.Load())
	rooms[typ] = r
	list := append(slices.Clone(*d.roomList.Load()), r)
	d.roomList.Store(&list)
	d.rooms.Store(&rooms)
	return r, nil
}

func (d *Dispatcher) activate(added []*entry, rooms []*room) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := state(d.state.Load()); s == stateStopped {
		return s.err()
	}
	for i, e := range added {
		if state(d.state.Load()) == stateRunning {
			e.sink.begin(d.ctx)
		}
		rooms[i].join(e)
	}
	return nil
}

// Deregister removes subscribers by identity: the argument may be another
// value with the same ID and MessageType. It removes those it finds; the error
// joins a *SubscriberError with ErrNotRegistered for every other.
//
// What the subscriber has not got yet is dropped and counted. Deregister does
// not wait for code of the subscriber that is running just then, and may be
// called from it.
func (d *Dispatcher) Deregister(subs ...Subscriber) error {
	var errs []error
	for _, sub := range subs {
		if err := d.remove(sub); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Dispatcher) remove(sub Subscriber) error {
	named, typ, err := d.newEntry(sub)
	if err != nil {
		return err
	}
	r := (*d.rooms.Load())[typ]
	if r == nil {
		return &SubscriberError{named.id, typ, ErrNotRegistered}
	}
	v, ok := r.subs.Load(named.id)
	if !ok {
		return &SubscriberError{named.id, typ, ErrNotRegistered}
	}
	e := v.(*entry)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !r.leave(e) {
		return &SubscriberError{named.id, typ, ErrNotRegistered}
	}
	r.subs.CompareAndDelete(e.id, e)
	now := state(d.state.Load())
	if now == stateNew {
		r.retireLeft(iDeregistered)
		return nil
	}
	if t, ok := e.sink.(tail); ok {
		d.rememberLocked(r, t, e.name)
		t.retire(iDeregistered)
	}
	r.wake() // the loop ends the others
	return nil
}

// Start starts the loop. A second call is ErrStarted, one after Stop
// ErrClosed.
func (d *Dispatcher) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch state(d.state.Load()) {
	case stateRunning:
		return ErrStarted
	case stateStopped:
		return ErrClosed
	}
	for _, r := range *d.roomList.Load() {
		for _, e := range r.entries {
			e.sink.begin(d.ctx)
		}
	}
	d.state.Store(uint32(stateRunning))
	go d.loop(nil)
	return nil
}

// Done is closed when Stop has ended everything.
func (d *Dispatcher) Done() <-chan struct{} { return d.done }

// keyOf is seeds.of for a message whose key was not computed when it was put.
// Hash is code of another module; if it panics, the message has a key of its
// own, which no other message shares.
func (d *Dispatcher) keyOf(r *room, m Message) (k key) {
	defer func() {
		if p := recover(); p != nil {
			d.panicked(fmt.Sprintf("Hash of a %T", m), p)
			k = key{a: 1, b: r.first}
		}
	}()
	return r.seeds.of(m)
}

// panicked counts and logs a panic of subscriber code; p is nil when the code
// ended its goroutine. A peer may cause it, so the log is limited.
func (d *Dispatcher) panicked(name string, p any) {
	d.panics.Add(1)
	if p == nil {
		p = "ended its goroutine"
	}
	d.obs.WarnLimited("dispatcher", "panic "+name, logrus.Fields{
		"subscriber": name, "panic": obs.Clean(fmt.Sprint(p)), "stack": string(debug.Stack()),
	}, "subscriber panicked")
}
