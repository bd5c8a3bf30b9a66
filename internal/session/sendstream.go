package session

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// sendStream is an outbound message stream.
type sendStream struct {
	s      *Session
	raw    network.Stream
	opened time.Time
	// Guarded by the session's lock: its slot is given back; it is being closed to
	// make room.
	released, ending bool

	preface []byte // the writer's: what has to go out before the first message
	sent    int64  // the writer's: bytes of messages written

	writes deadline // of the writer

	// finished is closed when a stream that was closed for being idle has ended.
	finished chan struct{}
}

// opening is the context of a stream that is being opened. The session's tick
// ends it at its deadline, and the end of the session. A deadline of package
// context's own is a timer, and those that were stopped are kept by the runtime
// for long; a parent keeps a table of its children for ever.
type opening struct {
	context.Context
	cancel context.CancelCauseFunc
	at     time.Time
}

func (c *opening) Deadline() (time.Time, bool) { return c.at, true }

func (c *opening) Err() error {
	if context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// newOpening makes the context; cancel has to be called.
func (s *Session) newOpening() *opening {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &opening{ctx, cancel, time.Now().Add(s.e.cfg.OpenTimeout)}
}

// giveUpOpening ends the opening of a stream, if one is under way.
func (o *sendQueue) giveUpOpening(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w != nil && o.w.opening != nil {
		o.w.opening.cancel(why)
	}
}

// open opens the stream, of which there is the slot already, for the offer of a
// number.
func (st *sendStream) open(ctx *opening, number uint32) error {
	s := st.s
	raw, err := s.conn.NewStream(network.WithAllowLimitedConn(ctx, "message stream"))
	if err != nil {
		st.release()
		return fmt.Errorf("open message stream: %w", err)
	}
	st.raw, st.opened = raw, time.Now()
	if err := raw.SetProtocol(s.e.protocol); err != nil {
		st.reset(network.StreamResourceLimitExceeded)
		return fmt.Errorf("open message stream: %w", err)
	}
	st.preface = binary.AppendUvarint(append(st.preface, s.e.negotiation...), uint64(number))
	return nil
}

// write writes messages, the first time with the preface before them, and tells
// how much of the messages went out.
func (st *sendStream) write(s *Session, b []byte) (n int, err error) {
	if st.preface == nil {
		n, err = st.raw.Write(b)
		st.sent += int64(n)
		return n, err
	}
	before := len(st.preface)
	n, err = st.raw.Write(append(st.preface, b...))
	if n < before {
		st.preface = st.preface[n:]
		return 0, err
	}
	st.preface = nil
	s.opens.Add(1)
	st.sent = int64(n - before)
	return n - before, err
}

// hurry ends a wait of the writer that has taken too long.
func (o *sendQueue) hurry(now time.Duration) {
	o.mu.Lock()
	st := o.stream
	late := o.w != nil && o.w.opening != nil && !time.Now().Before(o.w.opening.at)
	o.mu.Unlock()
	if late {
		o.giveUpOpening(context.DeadlineExceeded)
	}
	if st == nil {
		return
	}
	if st.writes.over(now) {
		st.raw.SetWriteDeadline(past)
	}
}

// finishIdle closes the stream if it has been idle for long enough. The peer
// closes its side when it has read everything; until then no other stream of
// the type is opened, so that messages stay in order and the peer has one
// stream of a type at a time.
func (o *sendQueue) finishIdle(now, idle time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || o.stream == nil && o.w == nil || now-o.idleSince < idle {
		return
	}
	if o.stream != nil && !o.finishLocked() {
		return
	}
	o.restLocked()
}

// finish ends an idle stream. It may block on a connection that is stuck, or
// for as long as the peer does not read.
func (o *sendQueue) finish(st *sendStream) {
	defer close(st.finished)
	err := st.raw.CloseWrite()
	if err == nil {
		err = st.raw.SetReadDeadline(time.Time{})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, st.raw)
	}
	if err == nil {
		st.raw.Close()
		st.release()
	} else {
		st.reset(network.StreamNoError)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.stalls = 0
	}
	if o.finishing == st {
		o.finishing = nil
	}
}

// awaitFinish waits until the stream before has been read to its end. errStalled
// means that it was not, for the time that a write may take.
func (o *sendQueue) awaitFinish() error {
	o.mu.Lock()
	st := o.finishing
	o.mu.Unlock()
	if st == nil {
		return nil
	}
	t := time.NewTimer(o.s.e.cfg.WriteTimeout)
	defer t.Stop()
	select {
	case <-st.finished: // finish
		return nil
	case <-o.s.ctx.Done():
		return net.ErrClosed
	case <-t.C:
		st.reset(network.StreamNoError)
		<-st.finished
		return errStalled
	}
}
