package session

import (
	"context"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/libp2p/go-libp2p/core/network"
)

// typeReserve is what a type may queue beyond the limit of the peer.
const typeReserve = 64 << 10

// bookAhead is what a type that has something queued counts in advance, so that
// not every message touches the counters that all types share.
const bookAhead = 8 << 10

// sendQueue is one message type on its way to one peer: a queue, and a stream
// and a writer while there is something to write.
type sendQueue struct {
	s *Session
	t *messageType

	mu   sync.Mutex // guards the fields below
	q    queue
	w    *writer // what it points to is the writer goroutine's; nil when idle
	sent sent
	// booked is what the session counts for this type: 0 when it holds nothing,
	// else what it holds and up to bookAhead more.
	booked int

	offer     taken // what the peer offers of the type
	stream    *sendStream
	finishing *sendStream   // closed when idle; the peer has not read all of it yet
	idleSince time.Duration // when the last writer ended
	stalls    uint16        // streams in a row that ran into WriteTimeout
	resets    uint8         // streams in a row that the peer reset soon

	// writing tells that a writer goroutine is at work. While it is, it owns
	// the stream; others may only reset it.
	writing bool
	closed  bool // nothing is queued any more
}

// SendOptions are those of one message. The zero value is fine.
type SendOptions struct {
	// Priority overrides that of the type. Messages of one type keep their
	// order within a priority.
	Priority msgtype.Priority
	// Shared tells that nobody will change data any more, so that a large
	// message is queued by reference and not copied: a broadcast keeps one copy
	// for all peers.
	Shared bool
}

// message is one on its way into a queue, as Engine.prepare makes it.
type message struct {
	t      *messageType
	head   header
	body   []byte
	shared bool // body does not change any more
}

func (m *message) size() int { return m.head.size() + len(m.body) }

// push queues a message. It does not wait: ErrQueueFull means no room.
func (o *sendQueue) push(m *message, class int) error {
	var seg segment
	size := m.size()
	large := len(m.body) >= largeBody
	if large {
		// Copied outside the lock, and not at all when there is no room.
		if err := o.admit(m, size); err != nil {
			return err
		}
		seg = newLarge(m.head, m.body, m.shared)
	}
	o.mu.Lock()
	if err := o.admitLocked(m, size); err != nil {
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
		o.startLocked()
	}
	if need := o.queuedLocked() - o.booked; need > 0 {
		o.bookLocked(need)
	}
	o.mu.Unlock()
	return nil
}

// startLocked has a writer write.
func (o *sendQueue) startLocked() {
	o.writing = true
	o.s.writers.Add(1)
	if o.w != nil && o.w.idles {
		o.w.idles = false
		o.w.wake <- struct{}{} // has room: it idles once at a time
		return
	}
	if o.w == nil {
		o.w = &writer{o: o, flow: pacing.NewFlow(o.s.budget), wake: make(chan struct{}, 1)}
	}
	o.s.wg.Add(1)
	go o.w.run()
}

// restLocked lets go of what only a type at work needs.
func (o *sendQueue) restLocked() {
	o.w = nil
	o.q.shrink()
}

// queuedLocked is how many bytes are queued or being written.
func (o *sendQueue) queuedLocked() int {
	if o.w == nil {
		return o.q.bytes
	}
	return o.q.bytes + o.w.popped
}

func (o *sendQueue) admit(m *message, size int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.admitLocked(m, size)
}

// admitLocked tells whether a message can be queued whose frame has size bytes.
func (o *sendQueue) admitLocked(m *message, size int) error {
	set := o.t.now.Load()
	switch {
	case o.s.closing.Load():
		return o.s.closedErr()
	case o.offer.number == 0:
		return &UnsupportedError{Type: o.t.name, Peer: o.s.peer}
	case m.head.raw > o.offer.maxSize:
		return &TooLargeError{Type: o.t.name, Size: m.head.raw, Max: o.offer.maxSize, Peer: o.s.peer}
	}
	have := o.queuedLocked()
	if have == 0 {
		return nil
	}
	need := have + size - o.booked
	if have+size > set.spec.QueueBytes ||
		need > 0 && have+size > typeReserve && int(o.s.queued.Load())+need > o.s.e.cfg.QueueBytes {
		return ErrQueueFull
	}
	return nil
}

// bookLocked books bytes that are queued, and some ahead where there is room.
func (o *sendQueue) bookLocked(bytes int) {
	room := o.s.e.cfg.QueueBytes - int(o.s.queued.Load()) - bytes
	bytes += max(min(bookAhead, room), 0)
	o.booked += bytes
	o.s.queued.Add(int64(bytes))
	o.s.e.total.queue.Update(o.s.e.queued.Add(int64(bytes)))
}

// unbookLocked returns how many bytes are booked for no reason. They no longer
// are; the caller tells the session.
func (o *sendQueue) unbookLocked() (bytes int) {
	queued := o.queuedLocked()
	if queued > 0 {
		queued += bookAhead
	}
	bytes = max(o.booked-queued, 0)
	o.booked -= bytes
	return bytes
}

// dropLocked empties the queue. The caller tells the session of the booked bytes
// that are free with it.
func (o *sendQueue) dropLocked(why DropReason) (bytes, count int) {
	count = o.q.clear()
	o.sent.drop(why, count)
	return o.unbookLocked(), count
}

// refresh looks at what the peer offers of the type now. When it takes it no
// longer, what is queued is dropped. The look is taken under the queue's lock, so
// that of two calls at once the later one counts.
func (o *sendQueue) refresh() {
	o.mu.Lock()
	o.s.mu.Lock()
	was := o.offer
	o.offer = o.s.book.taken(o.t.name)
	o.s.mu.Unlock()
	if o.offer.number != 0 || was.number == 0 {
		o.mu.Unlock()
		return
	}
	o.dropAndUnlock(DropUnsupported)
}

// dropAndUnlock drops what is queued and resets the streams. A writer at work
// ends by itself.
func (o *sendQueue) dropAndUnlock(why DropReason) {
	bytes, count := o.dropLocked(why)
	streams := o.streamsLocked()
	if !o.writing {
		o.stream = nil
	}
	o.mu.Unlock()
	o.s.unbooked(bytes, count, why)
	for _, st := range streams {
		st.reset(network.StreamShutdown)
	}
}

// streamsLocked are those that are open.
func (o *sendQueue) streamsLocked() (streams []*sendStream) {
	for _, st := range []*sendStream{o.stream, o.finishing} {
		if st != nil {
			streams = append(streams, st)
		}
	}
	return streams
}

// stats reads the counters as of one moment.
func (o *sendQueue) stats() SendStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.sent.stats()
	st.Pending, st.PendingBytes = o.q.count, o.queuedLocked()
	if o.w != nil {
		st.Pending += o.w.poppedCount
	}
	return st
}

// refused counts a message that was not taken.
func (o *sendQueue) refused(err error) error {
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.sent.refused++
	}
	return err
}

// send waits for room until ctx ends.
func (o *sendQueue) send(ctx context.Context, m *message, class int) error {
	for {
		err := o.push(m, class)
		if err != ErrQueueFull {
			return o.refused(err)
		}
		progress := o.s.progress.wait()
		if err = o.push(m, class); err != ErrQueueFull {
			o.s.progress.done()
			return o.refused(err)
		}
		select {
		case <-progress: // a writer of this session, or Session.end
			o.s.progress.done()
		case <-ctx.Done():
			o.s.progress.done()
			return o.refused(o.fullError(context.Cause(ctx)))
		}
	}
}

// fullError tells why a message was not taken for which there was no room until err.
func (o *sendQueue) fullError(err error) error {
	e := &FullError{Type: o.t.name, Peer: o.s.peer, PeerBytes: o.s.e.cfg.QueueBytes, Err: err}
	if set := o.t.now.Load(); set != nil {
		e.QueueBytes = set.spec.QueueBytes
	}
	return e
}
