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
// stream. Messages of the peer are received once Peers knows of the session.
// Error: ErrClosed.
func (e *Engine) Attach(control network.Stream) (*Session, error) {
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
	s.ping() // tells the round trip before there is traffic
	return s, nil
}

// release forgets a session whose goroutines have ended.
func (e *Engine) release(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, s)
}
