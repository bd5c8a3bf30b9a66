package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// Dispatcher fans messages out to the subscribers of their types. Make one
// with New; it is safe for concurrent use.
type Dispatcher struct {
	cfg    Config
	obs    *obs.Obs
	log    *logrus.Entry
	opened func(msgType string) error // of WithTopicHooks; may be nil
	closed func(msgType string)

	state atomic.Uint32 // a state
	// topics is copied on write, under mu: each message looks its type up, and types
	// seldom come and go.
	topics atomic.Pointer[map[string]*topic]
	other  atomic.Uint64 // messages of types without a topic
	panics atomic.Uint64
	trace  atomic.Pointer[func(Message, Outcome)] // nil unless somebody traces
	meters meters

	ready    readyList
	quit     chan struct{}   // closed by Stop when nothing more is admitted
	loopDone chan struct{}   // closed by the loop
	block    block           // the loop's
	ctx      context.Context // of handlers
	cancel   context.CancelFunc

	mu     sync.Mutex      // guards what follows, and serialises Start, Stop, Register and Deregister
	former []*subscription // deregistered, code may still be running

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
		cfg: cfg.withDefaults(), obs: obs.New(o.log, o.reg), opened: o.opened, closed: o.closed,
		quit: make(chan struct{}), loopDone: make(chan struct{}), done: make(chan struct{}),
		ready: readyList{wake: make(chan struct{}, 1)},
	}
	d.log = d.obs.Log("dispatcher")
	d.meters = meters{d.obs, make(map[string]uint64)}
	d.topics.Store(&map[string]*topic{})
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Done is closed when Stop has ended everything.
func (d *Dispatcher) Done() <-chan struct{} { return d.done }

// Weight is the largest weight of a type's subscribers, 0 without any.
func (d *Dispatcher) Weight(msgType string) (w MessageWeight) {
	t := (*d.topics.Load())[msgType]
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.list {
		w = max(w, s.weight)
	}
	return w
}

// panicked counts and logs a panic of user code; p is nil when the code ended
// its goroutine.
func (d *Dispatcher) panicked(name string, p any) {
	d.panics.Add(1)
	d.obs.Panicked(obs.Panic{Component: "dispatcher", In: name, Value: p})
}

// Start starts the loop, and the goroutines of the subscribers that are
// registered. A second call is ErrStarted, one after Stop ErrClosed.
func (d *Dispatcher) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch state(d.state.Load()) {
	case stateRunning:
		return ErrStarted
	case stateStopped:
		return ErrClosed
	}
	for _, s := range d.subscriptions() {
		s.startWorkers()
	}
	d.state.Store(uint32(stateRunning))
	go d.loop()
	return nil
}

// Stop ends the dispatcher. From its call on nothing is admitted; publishers
// that wait get ErrClosed. What was admitted is handed over, handlers and
// subscriptions empty their queues, and every goroutine is waited for.
//
// It is bounded by ctx and by Config.StopTimeout, whichever is shorter. When
// three quarters of the time until then have passed, what still waits is
// dropped and counted as DropStopped, and the context of the handlers ends, so
// that those that heed it return in the last quarter. If anything was lost or
// has not returned, the error is an *UndeliveredError.
//
// Further calls wait for the first one and return its error. Stop before Start
// makes Start fail with ErrClosed.
//
// Code of a subscriber must not wait for Stop, which would wait for that code. In
// the goroutine of a subscriber's code, and with the context that a handler was
// given or one derived from it, Stop returns at once with ErrStopInHandler and
// stops nothing. The code starts a goroutine that calls Stop, with another context.
// Code that waits for such a goroutine makes Stop take its whole time, and is named
// as stuck.
func (d *Dispatcher) Stop(ctx context.Context) error {
	name, ok := ctx.Value(handlerOf{d}).(string)
	if !ok {
		name, ok = d.InHandler()
	}
	if ok {
		return fmt.Errorf("%w: it is called by %s", ErrStopInHandler, name)
	}
	d.mu.Lock()
	was := state(d.state.Swap(uint32(stateStopped)))
	d.mu.Unlock()
	if was == stateStopped {
		select {
		case <-d.done:
			return d.stopErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if was == stateRunning {
		bound := d.cfg.StopTimeout
		if at, ok := ctx.Deadline(); ok {
			bound = min(bound, time.Until(at))
		}
		end, cancel := context.WithTimeout(ctx, bound)
		defer cancel()
		soft, cancelSoft := context.WithTimeout(ctx, bound*3/4)
		defer cancelSoft()
		d.stopErr = d.shutdown(soft, end)
	}
	d.cancel()
	for _, s := range d.subscriptions() {
		s.cutAll(iStopped)
	}
	d.meter()
	close(d.done)
	return d.stopErr
}

// InHandler tells whether the calling goroutine runs the code of one of the
// dispatcher's subscribers, and names it as ID/type: such code must not wait for what
// waits for it. It is for what is done seldom, such as a Stop: it looks at the stack.
// It does not know the code in goroutines that a subscriber has started, nor in one
// whose profiler labels it has changed.
func (d *Dispatcher) InHandler() (subscriber string, ok bool) {
	labels, ok := d.obs.InCallback()
	if !ok {
		return "", false
	}
	return labels["subscriber"] + "/" + labels["type"], true
}

// shutdown drains until soft ends and waits for goroutines until end does.
func (d *Dispatcher) shutdown(soft, end context.Context) error {
	for _, t := range *d.topics.Load() {
		t.close()
	}
	close(d.quit)
	<-d.loopDone // it never blocks
	d.mu.Lock()  // Deregister moves them from one to the other
	subs := append(d.subscriptions(), d.former...)
	d.mu.Unlock()
	var all []*subscription
	for _, s := range subs {
		s.drain()
		if all = append(all, s); s.keyed != nil {
			all = append(all, s.keyed) // drained when nothing more comes from s
		}
	}
	for _, s := range all {
		lifecycle.Ended(soft, s.done)
	}
	// The queues first: a handler that returns because its context has ended
	// would be called at once for what waits behind.
	for _, s := range all {
		if !lifecycle.IsClosed(s.done) {
			s.cut(iStopped)
		}
	}
	if soft.Err() != nil {
		d.cancel()
	}
	lost := make(map[string]int)
	var stuck []string
	for _, s := range all {
		if s.ownCode {
			<-s.done // cut has ended its send
		} else if !lifecycle.Ended(end, s.done) {
			stuck = append(stuck, s.name)
		}
		if n := s.droppedBy(iStopped); n > 0 {
			lost[s.topic.name] += n
		}
	}
	if len(lost) == 0 && len(stuck) == 0 {
		return nil
	}
	return &UndeliveredError{Types: lost, Stuck: slices.Compact(stuck)}
}

// subscriptions are those of all topics, sorted by type and, within a type, in
// order of registration.
func (d *Dispatcher) subscriptions() (all []*subscription) {
	for _, t := range d.sorted() {
		t.mu.Lock()
		all = append(all, t.list...)
		t.mu.Unlock()
	}
	return all
}

// rememberLocked keeps a deregistered subscription in mind until its code has
// returned.
func (d *Dispatcher) rememberLocked(s *subscription) {
	d.former = slices.DeleteFunc(d.former, func(f *subscription) bool {
		return lifecycle.IsClosed(f.done) && (f.keyed == nil || lifecycle.IsClosed(f.keyed.done))
	})
	d.former = append(d.former, s)
}
