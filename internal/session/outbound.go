package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// typeReserve is what a type may queue beyond the limit of the peer.
const typeReserve = 64 << 10

// bookAhead is what a type that has something queued counts in advance, so that
// not every message touches the counters that all types share.
const bookAhead = 8 << 10

// outbound is one message type on its way to one peer: a queue, and a stream
// and a writer while there is something to write.
type outbound struct {
	s *Session
	t *declared

	mu      sync.Mutex // guards the fields below
	q       queue
	w       *writer  // what it points to is the writer goroutine's; nil when idle
	learned *learned // the writer goroutine's; nil when there is nothing to know
	sent    sent
	// booked is what the session counts for this type: 0 when it holds nothing,
	// else what it holds and up to bookAhead more.
	booked int

	stream    *outStream
	finishing *outStream    // closed when idle; the peer has not read all of it yet
	idleSince time.Duration // when the last writer ended
	support   support
	stalls    uint16 // streams in a row that ran into WriteTimeout
	resets    uint8  // streams in a row that the peer reset soon

	// writing tells that a writer goroutine is at work. While it is, it owns
	// the stream; others may only reset it.
	writing   bool
	closed    bool       // nothing is queued any more
	closedWhy DropReason // valid when closed
}

// SendOptions are those of one message. The zero value is fine.
type SendOptions struct {
	// Priority overrides that of the type. Messages of one type keep their
	// order within a priority.
	Priority Priority
	// Shared tells that nobody will change data any more, so that a large
	// message is queued by reference and not copied: a broadcast keeps one copy
	// for all peers.
	Shared bool
}

// message is one on its way into a queue; Engine.prepare checks it, and
// compresses it where that helps.
type message struct {
	t      *declared
	head   header
	body   []byte
	shared bool // body does not change any more
}

func newMessage(t *declared, data []byte, shared bool) message {
	return message{t: t, head: header{body: len(data), raw: len(data)}, body: data, shared: shared}
}

func (m *message) size() int { return m.head.size() + len(m.body) }

// push queues a message. It does not wait: ErrQueueFull means no room.
func (o *outbound) push(m *message, class int) error {
	var seg segment
	size := m.size()
	large := len(m.body) >= largeBody
	if large {
		// Copied outside the lock, and not at all when there is no room.
		if err := o.admit(size); err != nil {
			return err
		}
		seg = newLarge(m.head, m.body, m.shared)
	}
	o.mu.Lock()
	if err := o.admitLocked(size); err != nil {
		o.mu.Unlock()
		seg.release()
		return err
	}
	if large {
		o.q.pushLarge(class, seg)
	} else {
		o.q.push(class, m.head, m.body, o.writing)
	}
	o.sent.queued++
	start := !o.writing
	if start {
		o.writing = true
		o.s.startWriterLocked()
		if o.w == nil {
			o.startLocked()
		}
		go o.w.run()
	}
	if need := o.heldLocked() - o.booked; need > 0 {
		o.bookLocked(need)
	}
	o.mu.Unlock()
	return nil
}

// startLocked gives the type a writer. It goes on with what the last one
// learned.
func (o *outbound) startLocked() {
	if o.learned == nil {
		o.learned = new(learned)
	}
	o.w = &writer{o: o, learned: o.learned}
}

// restLocked lets go of what only a type at work needs.
func (o *outbound) restLocked() {
	if o.learned != nil && o.learned.nothing() {
		o.learned = nil
	}
	o.w = nil
	o.q.shrink()
}

// heldLocked is how many bytes are queued or being written.
func (o *outbound) heldLocked() int {
	if o.w == nil {
		return o.q.bytes
	}
	return o.q.bytes + o.w.popped
}

func (o *outbound) admit(size int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.admitLocked(size)
}

// admitLocked tells whether a frame of size bytes can be queued.
func (o *outbound) admitLocked(size int) error {
	switch {
	case o.s.closing.Load():
		return o.s.closedErr()
	case o.closed: // retracted
		return fmt.Errorf("%w: %s", ErrUnknownType, o.t.spec.Name)
	}
	if !o.supportedLocked() {
		return ErrUnsupported
	}
	have := o.heldLocked()
	if have == 0 {
		return nil
	}
	need := have + size - o.booked
	if have+size > o.t.spec.QueueBytes ||
		need > 0 && have+size > typeReserve && int(o.s.queued.Load())+need > o.s.e.cfg.QueueBytes {
		return ErrQueueFull
	}
	return nil
}

// bookLocked books bytes that are held, and some ahead where there is room.
func (o *outbound) bookLocked(bytes int) {
	room := o.s.e.cfg.QueueBytes - int(o.s.queued.Load()) - bytes
	bytes += max(min(bookAhead, room), 0)
	o.booked += bytes
	o.s.queued.Add(int64(bytes))
	o.s.e.total.queue.Update(o.s.e.queued.Add(int64(bytes)))
}

// unbookLocked returns how many bytes are booked for no reason. They no longer
// are; the caller tells the session.
func (o *outbound) unbookLocked() (bytes int) {
	held := o.heldLocked()
	if held > 0 {
		held += bookAhead
	}
	bytes = max(o.booked-held, 0)
	o.booked -= bytes
	return bytes
}

// dropLocked empties the queue. The caller tells the session of the booked bytes
// that are free with it.
func (o *outbound) dropLocked(why DropReason) (bytes, count int) {
	count = o.q.clear()
	o.sent.drop(why, count)
	return o.unbookLocked(), count
}

// retire ends the type on this session: what is queued is dropped and the
// stream reset. A writer at work ends by itself.
func (o *outbound) retire(why DropReason) {
	o.mu.Lock()
	o.closed, o.closedWhy = true, why
	bytes, count := o.dropLocked(why)
	streams := o.streamsLocked()
	if !o.writing {
		o.stream = nil
	}
	o.mu.Unlock()
	o.s.settle(bytes, count, why)
	for _, st := range streams {
		st.reset(network.StreamShutdown)
	}
}

// streamsLocked are those that are open.
func (o *outbound) streamsLocked() (streams []*outStream) {
	for _, st := range []*outStream{o.stream, o.finishing} {
		if st != nil {
			streams = append(streams, st)
		}
	}
	return streams
}

// stats reads the counters as of one moment.
func (o *outbound) stats() SendStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.sent.stats()
	st.Pending, st.PendingBytes = o.q.count, o.heldLocked()
	if o.w != nil {
		st.Pending += o.w.poppedCount
	}
	return st
}

// trySend queues a message or counts it as refused.
func (o *outbound) trySend(m *message, class int) error {
	return o.refused(o.push(m, class))
}

// refused counts a message that was not taken.
func (o *outbound) refused(err error) error {
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.sent.refused++
	}
	return err
}

// send waits for room until ctx ends.
func (o *outbound) send(ctx context.Context, m *message, class int) error {
	for {
		err := o.push(m, class)
		if err != ErrQueueFull {
			return o.refused(err)
		}
		room := o.s.room.wait()
		if err = o.push(m, class); err != ErrQueueFull {
			o.s.room.done()
			return o.refused(err)
		}
		select {
		case <-room: // a writer of this session, or Session.end
			o.s.room.done()
		case <-ctx.Done():
			o.s.room.done()
			return o.refused(&FullError{Err: context.Cause(ctx)})
		}
	}
}
