package session

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// maxWaiting bounds the streams that wait for one connection's handshake.
const maxWaiting = 32

// binding is what the engine knows of one connection. Guarded by the engine's
// lock.
type binding struct {
	session *Session
	pending int           // handshakes under way
	waiting int           // message streams that wait for one of them
	changed chan struct{} // closed at each change of session or pending
}

func (b *binding) changeLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Pending is a handshake under way. Until it ends, in Attach or Cancel, message
// streams on its connection wait instead of being reset: those of a peer that
// finished the handshake first.
type Pending struct {
	e    *Engine
	conn network.Conn
	over bool // guarded by the engine's lock
}

// Expect announces a handshake on a connection. There may be several at once,
// as when both sides open one. Every Pending must be ended.
func (e *Engine) Expect(c network.Conn) *Pending {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bindLocked(c).pending++
	return &Pending{e: e, conn: c}
}

func (e *Engine) bindLocked(c network.Conn) *binding {
	b := e.bindings[c]
	if b == nil {
		b = &binding{changed: make(chan struct{})}
		e.bindings[c] = b
	}
	return b
}

// unbindLocked forgets a connection that nothing is bound to any more.
func (e *Engine) unbindLocked(c network.Conn) {
	if b := e.bindings[c]; b != nil && b.session == nil && b.pending == 0 && b.waiting == 0 {
		delete(e.bindings, c)
	}
}

// endLocked ends the handshake once.
func (p *Pending) endLocked() bool {
	if p.over {
		return false
	}
	p.over = true
	b := p.e.bindings[p.conn]
	b.pending--
	b.changeLocked()
	return true
}

func (p *Pending) ended() bool {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	return p.over
}

// Cancel ends a handshake that did not succeed. It does nothing after Attach.
func (p *Pending) Cancel() {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	if p.endLocked() {
		p.e.unbindLocked(p.conn)
	}
}

// Attach begins the session of a handshake that succeeded. The stream becomes
// its control stream and must belong to the connection that was announced;
// nothing may have been read from it beyond the handshake.
//
// There is one session per peer: an older one is closed with ReasonReplaced,
// and its end touches nothing of the new one.
func (p *Pending) Attach(control network.Stream) (*Session, error) {
	e := p.e
	if p.ended() {
		return nil, ErrNoHandshake
	}
	if control.Conn() != p.conn {
		p.Cancel()
		return nil, errors.New("session: control stream of another connection")
	}
	s := newSession(e, p.conn, control)
	e.mu.Lock()
	if e.closed {
		p.endLocked()
		e.unbindLocked(p.conn)
		e.mu.Unlock()
		s.cancel(ErrClosed)
		return nil, ErrClosed
	}
	if p.over {
		e.mu.Unlock()
		s.cancel(ErrNoHandshake)
		return nil, ErrNoHandshake
	}
	old := e.sessions[s.peer]
	e.sessions[s.peer] = s
	e.live[s] = struct{}{}
	e.bindings[p.conn].session = s
	p.endLocked()
	e.wg.Add(1) // until the session's goroutines have ended
	s.startLocked()
	e.mu.Unlock()
	s.ping() // tells the round trip before there is traffic
	if old != nil {
		old.end(reasonReplaced, false)
	}
	return s, nil
}

// await finds the session of a connection, waiting for a handshake under way.
func (e *Engine) await(c network.Conn) (*Session, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.bindings[c]
	switch {
	case b == nil:
		return nil, refuseNoSession
	case b.session != nil:
		return b.session, ""
	case b.waiting >= maxWaiting:
		return nil, refuseWaiting
	}
	b.waiting++
	defer func() {
		b.waiting--
		e.unbindLocked(c)
	}()
	t := time.NewTimer(e.cfg.PendingTimeout)
	defer t.Stop()
	for b.session == nil && b.pending > 0 {
		changed := b.changed
		e.mu.Unlock()
		expired := false
		select {
		case <-changed: // Attach, Cancel, forget
		case <-t.C:
			expired = true
		case <-e.ctx.Done():
			expired = true
		}
		e.mu.Lock()
		if expired {
			return nil, refuseWaiting
		}
	}
	if b.session == nil {
		return nil, refuseNoSession
	}
	return b.session, ""
}

// forget removes a session that is ending from the engine's maps, unless a
// newer one has taken its place there.
func (e *Engine) forget(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sessions[s.peer] == s {
		delete(e.sessions, s.peer)
	}
}

// owns tells whether nothing but this session is bound to its connection.
func (e *Engine) owns(s *Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.bindings[s.conn]
	return b != nil && b.session == s && b.pending == 0
}

// release removes the rest of a session whose goroutines have ended.
func (e *Engine) release(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, s)
	if b := e.bindings[s.conn]; b != nil && b.session == s {
		b.session = nil
		b.changeLocked()
		e.unbindLocked(s.conn)
	}
}
