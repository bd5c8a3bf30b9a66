package session

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// typeReserve is what a type may queue beyond the limit of the peer.
const typeReserve = 64 << 10

// outbound is one message type on its way to one peer: a queue, and a stream
// and a writer while there is something to write.
type outbound struct {
	s *Session
	t *declared
	w writer // the writer goroutine's

	mu      sync.Mutex // guards the fields below
	q       queue
	sent    SendStats // Dropped and the Pending fields are not used
	dropped [dropReasons]uint64
	// writing tells that a writer goroutine is at work. While it is, it owns
	// the stream; others may only reset it.
	writing bool
	// inWrite is what the writer has popped and not yet accounted for.
	inWriteBytes, inWriteCount int
	closed                     bool       // nothing is queued any more
	closedWhy                  DropReason // valid when closed
	stream                     *outStream
	finishing                  *outStream    // closed when idle; the peer has not read all of it yet
	idleSince                  time.Duration // when the last writer ended

	support support
	stalls  int // streams in a row that ran into WriteTimeout
	resets  int // streams in a row that the peer reset soon
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

// message is one that has been checked, and compressed where that helps.
type message struct {
	t      *declared
	head   header
	body   []byte
	shared bool // body does not change any more
}

func (m message) size() int { return m.head.size() + len(m.body) }

// push queues a message. It does not wait: ErrQueueFull means no room.
func (o *outbound) push(m message, class int) error {
	var seg segment
	large := len(m.body) >= largeBody
	if large {
		// Copied outside the lock, and not at all when there is no room.
		if err := o.admit(m.size()); err != nil {
			return err
		}
		seg = newLarge(m.head, m.body, m.shared)
	}
	size := m.size()
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
	o.sent.Queued++
	start := !o.writing
	if start {
		o.writing = true
		o.s.startWriterLocked()
	}
	o.s.queued.Add(int64(size))
	o.s.e.queued.Add(int64(size))
	o.mu.Unlock()
	if start {
		go o.write()
	}
	return nil
}

func (o *outbound) admit(size int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.admitLocked(size)
}

// admitLocked tells whether a frame of size bytes can be queued.
func (o *outbound) admitLocked(size int) error {
	if o.closed || o.s.closing.Load() {
		return o.s.closedErr()
	}
	if !o.supportedLocked() {
		o.sent.Refused++
		return ErrUnsupported
	}
	have := o.q.bytes + o.inWriteBytes
	if have == 0 {
		return nil
	}
	if have+size > o.t.spec.QueueBytes ||
		have+size > typeReserve && int(o.s.queued.Load())+size > o.s.e.cfg.QueueBytes {
		o.sent.Refused++
		return ErrQueueFull
	}
	return nil
}

// dropLocked empties the queue. The caller tells the session of the bytes.
func (o *outbound) dropLocked(why DropReason) (bytes, count int) {
	bytes, count = o.q.clear()
	o.dropped[why] += uint64(count)
	return bytes, count
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
	st := o.sent
	st.Pending = o.q.count + o.inWriteCount
	st.PendingBytes = o.q.bytes + o.inWriteBytes
	st.Dropped = make(map[string]uint64)
	for r, n := range o.dropped {
		if n > 0 {
			st.Dropped[DropReason(r).String()] = n
		}
	}
	return st
}

// send waits for room until ctx ends.
func (o *outbound) send(ctx context.Context, m message, class int) error {
	for {
		err := o.push(m, class)
		if err != ErrQueueFull {
			return err
		}
		room := o.s.room.wait()
		if err = o.push(m, class); err != ErrQueueFull {
			o.s.room.done()
			return err
		}
		select {
		case <-room: // a writer of this session
			o.s.room.done()
		case <-o.s.ended: // Session.end
			o.s.room.done()
			return o.s.closedErr()
		case <-ctx.Done():
			o.s.room.done()
			return &FullError{Err: context.Cause(ctx)}
		}
	}
}
