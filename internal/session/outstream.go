package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// outStream is an outbound message stream. Negotiation is lazy: the first
// write carries it, and the answer is awaited beside.
type outStream struct {
	raw    network.Stream
	lazy   multistream.LazyConn
	opened time.Time

	watched bool // the writer's: the answer is being awaited

	// The writer's: bytes written and acknowledged.
	sent, acked int64

	writes, reads patience // of the writer

	// finished is closed when a stream that was closed for being idle has ended.
	finished chan struct{}

	// answered is closed when the negotiation has ended; refused is valid then.
	answered chan struct{}
	refused  bool

	// Messages written before the answer: a refusal takes them back. Guarded by
	// the outbound's lock.
	confirmed               bool
	unconfirmed, unconfSize int
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
func (o *outbound) giveUpOpening(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w != nil && o.w.opening != nil {
		o.w.opening.cancel(why)
	}
}

// openStream opens a stream for a type on the session's connection.
func (s *Session) openStream(ctx *opening, pid protocol.ID) (*outStream, error) {
	raw, err := s.conn.NewStream(network.WithAllowLimitedConn(ctx, "message stream"))
	if err != nil {
		return nil, fmt.Errorf("open message stream: %w", err)
	}
	if err := raw.SetProtocol(pid); err != nil {
		raw.ResetWithError(network.StreamResourceLimitExceeded)
		return nil, fmt.Errorf("open message stream: %w", err)
	}
	s.opens.Add(1)
	return &outStream{
		raw:      raw,
		lazy:     multistream.NewMSSelect(raw, pid),
		opened:   time.Now(),
		answered: make(chan struct{}),
		finished: make(chan struct{}),
	}, nil
}

// awaitAnswer ends with the negotiation. The first write has been made.
func (st *outStream) awaitAnswer() {
	_, err := st.lazy.Read(nil)
	st.refused = refusal(err)
	close(st.answered)
}

// refusal tells whether an error says that the peer does not know the protocol.
// Its reset may overtake the answer itself.
func refusal(err error) bool {
	if errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}) {
		return true
	}
	se, ok := errors.AsType[*network.StreamError](err)
	return ok && se.Remote && se.ErrorCode == network.StreamProtocolNegotiationFailed
}

// hurry ends a wait of the writer that has taken too long.
func (o *outbound) hurry(now time.Duration) {
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
	if st.reads.over(now) {
		st.raw.SetReadDeadline(past)
	}
}

// finishIdle closes the stream if it has been idle for long enough. The peer
// closes its side when it has read everything; until then no other stream of
// the type is opened, so that messages stay in order and the peer has one
// stream of a type at a time.
func (o *outbound) finishIdle(now, idle time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || o.stream == nil && o.w == nil || now-o.idleSince < idle {
		return
	}
	if st := o.stream; st != nil {
		if !o.s.spawn(func() { o.finish(st) }) {
			return // the session is being cut off, and the stream with it
		}
		o.stream, o.finishing = nil, st
	}
	o.restLocked()
}

// finish ends an idle stream. It may block on a connection that is stuck, or
// for as long as the peer does not read.
func (o *outbound) finish(st *outStream) {
	defer close(st.finished)
	err := st.raw.CloseWrite()
	if err == nil {
		err = st.raw.SetReadDeadline(time.Time{})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, st.lazy)
	}
	if err == nil {
		st.raw.Close()
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
func (o *outbound) awaitFinish() error {
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

func (st *outStream) reset(code network.StreamErrorCode) { st.raw.ResetWithError(code) }
