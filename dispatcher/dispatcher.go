package dispatcher

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

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
