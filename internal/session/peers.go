package session

import (
	"context"

	"github.com/libp2p/go-libp2p/core/network"
)

// Peers is the owner's book of peers. The engine keeps none: which session is
// that of a peer, and which handshakes are under way, is decided where peers are
// admitted. Its methods are called from many goroutines.
type Peers interface {
	// SessionOn returns the session on a connection, until it is over. While a
	// handshake is under way there it waits for the outcome: the side that writes
	// the last frame of a handshake may use the session before the other has read
	// it. nil means that there is no session, or none before ctx ended.
	SessionOn(ctx context.Context, c network.Conn) *Session
	// Shared tells whether a handshake, or another session, is on the connection
	// of a session that ends.
	Shared(s *Session) bool
}

// Attach begins the session of a handshake that succeeded, of which the stream
// was; nothing may have been read from it beyond. The stream becomes the control
// stream.
//
// It returns when the peer's first offers have come, so that from the first
// moment of the session it is known what the peer takes: half a round trip later
// at most, as both sides send theirs at once. When ctx ends before, so does the
// session, with ReasonTimeout. Messages of the peer are received once Peers knows
// of the session. Errors: ErrClosed, *ClosedError.
func (e *Engine) Attach(ctx context.Context, control network.Stream) (*Session, error) {
	s := newSession(e, control)
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		s.cancel(ErrClosed)
		return nil, ErrClosed
	}
	e.live[s] = struct{}{}
	e.wg.Add(1) // until the session's goroutines have ended
	s.startLocked()
	e.mu.Unlock()
	s.ping(s.budget.Mark()) // tells the round trip before there is traffic; the offers go with it
	if err := s.awaitReady(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// release forgets a session whose goroutines have ended.
func (e *Engine) release(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, s)
}
