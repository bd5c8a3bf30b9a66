package dispatcher

import (
	"context"
	"fmt"
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

	ready    readyList
	quit     chan struct{}   // closed by Stop: end the loop at once
	draining atomic.Bool     // end the loop when everything is handed over
	loopDone chan struct{}   // closed by the loop
	lost     map[string]int  // the loop's, then for Stop: hand-overs that did not happen, by type
	turn     turn            // for user code that the loop runs
	ctx      context.Context // of handlers
	cancel   context.CancelFunc

	mu     sync.Mutex // guards what follows, and serialises Start, Stop, Register and Deregister
	former []ending   // deregistered, code may still be running

	stopErr error         // set before done is closed
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
		turn:  turn{reported: make(chan struct{})},
	}
	d.log = d.obs.Log("dispatcher")
	d.rooms.Store(&map[string]*room{})
	d.roomList.Store(&[]*room{})
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
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
// Hash is code of another module; if it panics, the message gets a key that no
// other message has, as it does when Stop has no more time for it. Only the
// loop calls it.
func (d *Dispatcher) keyOf(r *room, m Message) (k key) {
	if _, own := m.(*BasicMessage); own {
		return r.seeds.of(m)
	}
	code := &entry{name: fmt.Sprintf("Hash of a %T", m)}
	if !d.turn.take(code, 1) {
		return r.unhashedKey()
	}
	defer d.turn.give()
	defer func() {
		if p := recover(); p != nil {
			d.panicked(code.name, p)
			k = r.unhashedKey()
		}
	}()
	return r.seeds.of(m)
}

func (r *room) unhashedKey() key {
	r.unhashed++
	return key{a: 1, b: r.unhashed}
}

// panicked counts and logs a panic of subscriber code; p is nil when the code
// ended its goroutine.
func (d *Dispatcher) panicked(name string, p any) {
	d.panics.Add(1)
	d.obs.Panicked(obs.Panic{Component: "dispatcher", In: name, Value: p})
}
