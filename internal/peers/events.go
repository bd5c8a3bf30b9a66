package peers

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// EventKind says what happened to a peer.
type EventKind uint8

// The events.
const (
	Connected    EventKind = iota // a session was made
	Disconnected                  // a session ended, for Reason
	Banned                        // the peer was banned, until Until
	Refused                       // a handshake failed, for Reason
	Crowded                       // the peer tried to have more connections than it may
)

var eventNames = [...]string{"connected", "disconnected", "banned", "refused", "crowded"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

// Event is one thing that happened to one peer.
type Event struct {
	Kind      EventKind
	Peer      peer.ID
	Direction network.Direction // who opened the hello: outbound is this node
	Reason    handshake.Reason  // of Disconnected, Refused and Banned
	ByRemote  bool              // whether the reason is the peer's
	Text      string            // with the reason, of the application of that side; cleaned
	At        time.Time
	Until     time.Time // of Banned
}

// defaultEvents are the kinds of a subscription that names none: what is
// bounded by the node's own sessions and bans, or by a rate. Refused is not
// among them, because strangers can cause any number of it and so push out the
// rest.
var defaultEvents = []EventKind{Connected, Disconnected, Banned, Crowded}

// DefaultEventQueue is the length of a subscription's queue unless another is
// asked for.
const DefaultEventQueue = 256

// Subscription is a bounded queue of events, each as the subscriber wants to see
// it. When it is full, the oldest event is dropped for the new one. It is safe for
// concurrent use.
type Subscription[E any] struct {
	ch      chan E
	as      func(Event) E // pure
	kinds   []EventKind
	dropped atomic.Uint64
	feed    *feed

	mu     sync.Mutex // guards closed, and sending on ch
	closed bool
}

// Events is the channel of the subscription. It is closed by Close and when
// the manager is closed; what is queued by then can still be read.
func (s *Subscription[E]) Events() <-chan E { return s.ch }

// All ranges over the events until the subscription is closed. Leaving the
// loop closes it.
func (s *Subscription[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		defer s.Close()
		for e := range s.ch {
			if !yield(e) {
				return
			}
		}
	}
}

// Dropped is the number of events that this subscription has lost because it
// was full.
func (s *Subscription[E]) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription. It is idempotent.
func (s *Subscription[E]) Close() {
	s.feed.remove(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.ch)
	}
}

// put never blocks: put is the only sender, under mu, so that after taking one
// event out there is room, if not for a reader then for put.
func (s *Subscription[E]) put(e Event, lost func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !slices.Contains(s.kinds, e.Kind) {
		return
	}
	for {
		select {
		case s.ch <- s.as(e):
			return
		default:
		}
		select {
		case <-s.ch:
			s.dropped.Add(1)
			lost()
		default:
		}
	}
}

// subscriber is a Subscription of whatever type.
type subscriber interface {
	put(e Event, lost func())
	Close()
}

// feed hands events to all subscriptions.
type feed struct {
	lost func() // counts a dropped event

	mu     sync.Mutex // guards subs and closed
	subs   []subscriber
	closed bool
}

// Subscribe subscribes to events of the given kinds, as they are or in the
// program's own form; without any kind, to all but Refused. A size of 0 means
// DefaultEventQueue.
func Subscribe[E any](m *Manager, size int, as func(Event) E, kinds ...EventKind) *Subscription[E] {
	return subscribe(m.feed, size, as, kinds)
}

func subscribe[E any](h *feed, size int, as func(Event) E, kinds []EventKind) *Subscription[E] {
	if size <= 0 {
		size = DefaultEventQueue
	}
	if len(kinds) == 0 {
		kinds = defaultEvents
	}
	s := &Subscription[E]{ch: make(chan E, size), as: as, kinds: slices.Clone(kinds), feed: h}
	if !h.add(s) {
		s.closed = true
		close(s.ch)
	}
	return s
}

// add is false for a feed that is closed.
func (h *feed) add(s subscriber) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.subs = append(h.subs, s)
	}
	return !h.closed
}

func (h *feed) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		s.put(e, h.lost)
	}
}

func (h *feed) remove(s subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs = slices.DeleteFunc(h.subs, func(o subscriber) bool { return o == s })
}

func (h *feed) close() {
	h.mu.Lock()
	subs := slices.Clone(h.subs) // remove changes the list in place
	h.closed = true
	h.mu.Unlock()
	for _, s := range subs {
		s.Close()
	}
}
