package session

import (
	"context"
	"iter"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Session is the exchange of messages with one peer over one connection. It is
// safe for concurrent use.
type Session struct {
	e       *Engine
	conn    network.Conn
	control network.Stream
	peer    peer.ID
	name    string // the peer's ID as text
	start   time.Time

	ctx    context.Context // ends when the streams are cut
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	opens    atomic.Uint32 // outbound streams
	queued   atomic.Int64  // bytes booked by all types
	rtt      atomic.Int64  // of the last ping, nanoseconds
	writers  atomic.Int32  // that do not idle
	progress notice        // a writer made progress, or idles

	budget *pacing.Budget // of the connection, and when it last gave a sign of life
	detach func()         // ends the marks of this session

	outs atomic.Pointer[[]*sendQueue] // by index of the type, nil where there is none; replaced as a whole under mu

	closing atomic.Bool // nothing is queued any more

	mu        sync.Mutex // guards the fields below
	reason    handshake.Reason
	byRemote  bool
	text      string                      // with the goodbye, from the side that ends it
	cut       bool                        // streams are reset; nothing is started any more
	ins       []*receiver                 // one of each type that came
	inStreams map[network.Stream]*arrival // nil when there are none
	unnamed   int                         // of them, that have not said what they carry
	opened    tokenbucket.Bucket          // of inbound streams
	slots     streamSlots                 // of outbound ones
	refused   uint64                      // inbound streams
	storm     int                         // of them, in a row, for being opened too fast
	live      liveness
	timer     *time.Timer
	after     []func()      // to be run when the session is over
	finished  bool          // it is
	done      chan struct{} // closed then; nil until somebody asks

	book      offerBook     // what the peer offers
	differing map[int]Offer // of that, what differs from what is declared here, by index; nil while nothing does
	isReady   bool          // the peer's first offers have come
	isBegun   bool          // begun is closed

	arrived   uint32 // inbound streams, refused ones included
	goodbye   bool   // the peer has said it
	announced uint32 // with it: the streams that the peer has opened

	ctl controlWriter

	unpacked tokenbucket.Bucket // guarded by the engine's

	// begun is closed when the peer's first offers have come, or the session ends.
	begun chan struct{}

	// Made by end.
	hungUp chan struct{} // closed when the control stream has ended
	over   chan struct{} // closed when its goroutines have ended
}

func newSession(e *Engine, control network.Stream) *Session {
	c := control.Conn()
	s := &Session{
		e: e, conn: c, control: control, peer: c.RemotePeer(), name: c.RemotePeer().String(), start: time.Now(),
		begun: make(chan struct{}),
	}
	s.live = newLiveness(e.cfg.PingInterval, e.cfg.PingTimeout, control.Stat().Direction, s.start.Sub(e.start))
	s.budget = e.budgets.Of(c)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.outs.Store(new([]*sendQueue))
	return s
}

// Peer is who is at the other end.
func (s *Session) Peer() peer.ID { return s.peer }

// Name is the text of the peer's ID.
func (s *Session) Name() string { return s.name }

// Conn is the connection that the session is bound to.
func (s *Session) Conn() network.Conn { return s.conn }

// Done is closed when the session is over: nothing is sent any more, and
// nothing more is received, a delivery that is under way apart.
func (s *Session) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.finished {
			close(s.done)
		}
	}
	return s.done
}

// AfterDone has f run when the session is over, in a goroutine of its own that
// there is none of until then. The caller waits for f where that matters.
func (s *Session) AfterDone(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		go f()
		return
	}
	s.after = append(s.after, f)
}

// Reason is why the session ends or has ended, and whether the peer ended it;
// ReasonNone while it lives.
func (s *Session) Reason() (r handshake.Reason, byRemote bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason, s.byRemote
}

// Text is what the application of the side that ends the session says with it,
// cleaned.
func (s *Session) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// RTT is the round trip of the last ping, 0 before the first.
func (s *Session) RTT() time.Duration { return time.Duration(s.rtt.Load()) }

// noteRTT notes the round trip of a ping.
func (s *Session) noteRTT(took time.Duration) {
	s.rtt.Store(int64(max(took, 1)))
	s.e.total.rtt.Update(took.Microseconds())
}

func (s *Session) since() time.Duration { return time.Since(s.start) }

// Heard notes a sign of life of the peer: on a stream of the session, or on
// another one.
func (s *Session) Heard() { s.budget.Heard() }

// lastLife is when the peer last gave a sign of life.
func (s *Session) lastLife() time.Duration {
	return max(s.budget.LastLife().Sub(s.start), 0)
}

func (s *Session) closedErr() error {
	r, byRemote := s.Reason()
	return &ClosedError{Reason: r, ByRemote: byRemote}
}

// unbooked tells of booked bytes that are free again, now that messages were
// written or dropped, and of the messages dropped.
func (s *Session) unbooked(bytes, dropped int, why DropReason) {
	s.queued.Add(-int64(bytes))
	s.e.total.queue.Update(s.e.queued.Add(-int64(bytes)))
	if dropped > 0 {
		s.e.countDropped(why, dropped)
	}
	s.progress.signal()
}

// writerIdles notes that a writer has nothing to write.
func (s *Session) writerIdles() {
	s.writers.Add(-1)
	s.progress.signal()
}

// spawn starts a goroutine that the end of the session waits for. It is false
// when the session has been cut.
func (s *Session) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return false
	}
	s.wg.Go(f)
	return true
}

// queue finds the queue of a type, or makes it.
func (s *Session) queue(t *messageType) (*sendQueue, error) {
	if t == nil {
		return nil, ErrUnknownType
	}
	if o := s.existing(t); o != nil {
		return o, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return nil, &ClosedError{Reason: s.reason, ByRemote: s.byRemote}
	}
	if t.now.Load() == nil {
		return nil, ErrUnknownType
	}
	if o := s.existing(t); o != nil {
		return o, nil
	}
	o := &sendQueue{s: s, t: t, offer: s.book.taken(t.name)}
	s.setQueueLocked(t, o)
	return o, nil
}

// existing is the queue of a type, nil when there is none.
func (s *Session) existing(t *messageType) *sendQueue {
	if outs := *s.outs.Load(); t.index < len(outs) {
		return outs[t.index]
	}
	return nil
}

func (s *Session) setQueueLocked(t *messageType, o *sendQueue) {
	old := *s.outs.Load()
	outs := make([]*sendQueue, max(len(old), t.index+1))
	copy(outs, old)
	outs[t.index] = o
	s.outs.Store(&outs)
}

// queues are those of all types.
func (s *Session) queues() iter.Seq[*sendQueue] {
	return func(yield func(*sendQueue) bool) {
		for _, o := range *s.outs.Load() {
			if o != nil && !yield(o) {
				return
			}
		}
	}
}

// resetInbound resets the streams on which the peer sends a type.
func (s *Session) resetInbound(t *messageType) {
	var streams []network.Stream
	s.mu.Lock()
	for st, in := range s.inStreams {
		if in.t == t {
			streams = append(streams, st)
		}
	}
	s.mu.Unlock()
	for _, st := range streams {
		st.ResetWithError(network.StreamShutdown)
	}
}

// Stats reads the counters.
func (s *Session) Stats() Stats {
	st := Stats{Types: make(map[string]TypeStats), RTT: s.RTT()}
	for o := range s.queues() {
		t := TypeStats{Send: o.stats()}
		st.Types[o.t.name] = t
		st.Send.add(t.Send)
	}
	s.mu.Lock()
	ins := slices.Clone(s.ins)
	st.StreamsRefused = s.refused
	s.mu.Unlock()
	for _, in := range ins {
		t := st.Types[in.t.name]
		t.Receive = in.stats()
		st.Types[in.t.name] = t
		st.Receive.add(t.Receive)
	}
	return st
}

var _ net.Error = (*FullError)(nil)
