package netservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// NebService owns a Node and a Dispatcher, starts and stops them in order and
// delegates to them. Make one with NewNebService. All methods are safe for
// concurrent use.
type NebService struct {
	cfg        Config
	obs        *obs.Obs
	node       *Node
	dispatcher *dispatcher.Dispatcher
	inspection inspection
	self       weak.Pointer[NebService] // for those who must not keep the service alive

	mu      sync.Mutex    // held to change state
	state   atomic.Int32  // a state; read on the path of every message
	started chan struct{} // closed when Start has come to its end
	// startedAt is when that was, in nanoseconds of Unix time; 0 before.
	startedAt atomic.Int64
	// stopped is closed when Stop has done its work, and stopErr is set before.
	stopped chan struct{}
	stopErr error
}

type state int

const (
	stateNew state = iota
	stateStarting
	stateRunning
	stateStopped
)

// NewNebService checks the configuration, loads or makes the key file, and
// opens nothing that would have to be closed again. Its error is what
// Config.Validate reports, or tells what is wrong with the key file or with an
// option.
func NewNebService(cfg Config, opts ...Option) (*NebService, error) {
	cfg = cfg.withDefaults().clone()
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	p, err := cfg.parse()
	if o.host == nil {
		err = joined(err, cfg.checkAddrs(p, o.transport != nil))
	}
	if err != nil {
		return nil, err
	}
	if o.gossip != nil {
		if err := checkGossipParams(*o.gossip); err != nil {
			return nil, err
		}
	}
	s := &NebService{cfg: cfg, obs: obs.New(o.logger, o.registry), started: make(chan struct{}), stopped: make(chan struct{})}
	s.self = weak.Make(s)
	s.dispatcher, err = dispatcher.New(
		dispatcher.Config{QueueSize: cfg.DispatchQueue, StopTimeout: time.Duration(cfg.ShutdownTimeout)},
		dispatcher.WithLogger(s.obs.Logger()), dispatcher.WithMetrics(s.obs.Registry()),
		dispatcher.WithTopicHooks(
			func(msgType string) error { return s.node.types.subscribe(msgType) },
			func(msgType string) { s.node.types.unsubscribe(msgType) }))
	if err != nil {
		return nil, err
	}
	if s.node, err = newNode(cfg, p, o, s.obs, s.dispatcher); err != nil {
		return nil, err
	}
	return s, nil
}

// Start starts the dispatcher, then the node. When the node cannot start (the
// error names each address on which it could not listen), the dispatcher is
// stopped again and the service cannot be started any more.
func (s *NebService) Start() error {
	s.mu.Lock()
	switch state(s.state.Load()) {
	case stateStarting, stateRunning:
		s.mu.Unlock()
		return ErrAlreadyStarted
	case stateStopped:
		s.mu.Unlock()
		return ErrStopped
	}
	s.state.Store(int32(stateStarting))
	s.mu.Unlock()

	err := s.dispatcher.Start()
	if err == nil {
		err = s.node.start()
	}
	s.mu.Lock()
	if err == nil {
		s.startedAt.Store(time.Now().UnixNano())
		s.state.Store(int32(stateRunning))
	} else {
		s.state.Store(int32(stateStopped))
	}
	close(s.started)
	s.mu.Unlock()
	if err != nil {
		err = errors.Join(err, errors.Join(s.end()...))
		close(s.stopped)
	}
	return err
}

// Stop ends the service: no new work, peers are told goodbye, queued messages
// are drained to the subscribers, and every goroutine is waited for, all
// within Config.ShutdownTimeout. It is idempotent; later calls wait for the
// first and return its error. What did not end in time is named in a
// *StopError, and nothing else: what is stopped after something that is stuck has
// time of its own. Stopping a service that was never started is not an error, and
// one that is being started is stopped as soon as Start has returned.
//
// Code that Stop waits for must not wait for Stop. In a subscriber, a handler of
// requests, a validator, Headers.Check or WithPeerCheck it returns at once with
// ErrStopInHandler, which names what called it, and stops nothing: such code starts
// a goroutine that calls Stop. In other callbacks (WithPayload, Headers.Make,
// WithMessageID, options of subscribers and of types), in code that waits for such a
// goroutine, and in code that set profiler labels of its own, Stop cannot know it: it
// takes most of ShutdownTimeout and names what is stuck. Handlers of HandleStream,
// and loops over events and messages, may call it.
func (s *NebService) Stop() error {
	if name, ok := s.inCallback(); ok {
		return fmt.Errorf("%w: it is called by %s", ErrStopInHandler, name)
	}
	s.mu.Lock()
	for state(s.state.Load()) == stateStarting {
		s.mu.Unlock()
		<-s.started
		s.mu.Lock()
	}
	if state(s.state.Load()) == stateStopped {
		s.mu.Unlock()
		<-s.stopped
		return s.stopErr
	}
	s.state.Store(int32(stateStopped))
	s.mu.Unlock()

	defer close(s.stopped)
	if parts := s.end(); len(parts) > 0 {
		s.stopErr = &StopError{Parts: parts}
	}
	return s.stopErr
}

// inCallback names the callback that the calling goroutine runs, if Stop waits for it.
func (s *NebService) inCallback() (name string, ok bool) {
	if name, ok := s.dispatcher.InHandler(); ok {
		return "subscriber " + name, true
	}
	labels, ok := s.obs.InCallback()
	switch {
	case !ok:
		return "", false
	case labels["engine"] == "handshake":
		return "the check of a peer (WithPeerCheck)", true
	case labels["method"] != "":
		return "the handler of requests " + labels["method"], true
	}
	return "the validator of type " + labels["type"], true
}

// end stops what there is, and returns the errors of the parts.
func (s *NebService) end() []error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.cfg.ShutdownTimeout))
	defer cancel()
	early, cancelEarly := lifecycle.Share(ctx, dispatchersShare)
	defer cancelEarly()
	errs := s.node.stop(early)
	return append(errs, endAll(ctx, []part{{"inspector", s.inspection.close}, {"subscribers", s.dispatcher.Stop}})...)
}

// running returns nil, ErrNotStarted or ErrStopped.
func (s *NebService) running() error {
	switch state(s.state.Load()) {
	case stateRunning:
		return nil
	case stateStopped:
		return ErrStopped
	}
	return ErrNotStarted
}

// Node returns the service's node.
func (s *NebService) Node() *Node { return s.node }

// Dispatcher returns the service's dispatcher. Subscribers that are registered
// there are those of the service: peers are told of their types too.
func (s *NebService) Dispatcher() *dispatcher.Dispatcher { return s.dispatcher }

// Metrics returns the registry that holds the service's metrics.
func (s *NebService) Metrics() metrics.Registry { return s.obs.Registry() }

// Register registers subscribers, and lets peers send messages of their types
// to this node. It may be called before Start. Either all are registered or,
// with an error, none. Errors: those of Dispatcher.Register,
// ErrTooManyTypes; after Stop, ErrStopped.
func (s *NebService) Register(subs ...dispatcher.Subscriber) error {
	return s.dispatcher.Register(subs...)
}

// Deregister removes subscribers, known by ID and type. When the last one of a
// type is gone, peers can no longer send messages of that type to this node.
// Errors: those of Dispatcher.Deregister.
func (s *NebService) Deregister(subs ...dispatcher.Subscriber) error {
	return s.dispatcher.Deregister(subs...)
}

// PutMessage hands a message to this node's own subscribers, as if it had
// arrived. It waits only where a lossless subscriber of its type is full. Errors:
// those of Dispatcher.PutMessage; ErrNotStarted, ErrStopped.
func (s *NebService) PutMessage(msg dispatcher.Message) error {
	err := s.dispatcher.PutMessage(msg)
	if errors.Is(err, ErrQueueFull) {
		return fmt.Errorf("%w: Config.DispatchQueue is %d", err, s.cfg.DispatchQueue)
	}
	return err
}

// Declare sets the properties of a message type. Types that are not declared
// have the defaults of MessageSpec. Declaring the same again is no error;
// declaring something else is ErrConflict, because peers may already rely on it.
func (s *NebService) Declare(spec MessageSpec) error { return s.node.types.declare(spec) }
