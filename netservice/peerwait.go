package netservice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/session"
)

// maxUndecided bounds the inbound streams of one peer that wait for the outcome
// of its handshake, whatever they are for.
const maxUndecided = 64

// errNoHello tells a stream that waits that nothing can come of it.
var errNoHello = errors.New("no handshake is under way")

// peerWait waits for what becomes of a peer: the one way in which anybody does.
type peerWait struct {
	s        *peerSet
	p        peer.ID
	e        *peerEntry
	stream   bool   // for an inbound stream
	failures uint64 // of the peer's handshakes when the wait began: none later is missed
}

// begin starts to watch a peer; end must follow. It is nil when too many streams
// wait already.
func (s *peerSet) begin(p peer.ID, stream bool) *peerWait {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.view.Load().entries[p]; stream && e != nil && e.streams >= maxUndecided {
		return nil
	}
	e := s.entryLocked(p)
	e.waits++
	if stream {
		e.streams++
	}
	return &peerWait{s: s, p: p, e: e, stream: stream, failures: e.failures}
}

func (w *peerWait) end() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.e.waits--
	if w.stream {
		w.e.streams--
	}
	w.s.changedLocked(w.p, w.e)
}

// until waits until look has found the peer's session or says that there is
// nothing to wait for, until ctx or the set ends, and no longer than a handshake
// may take. look is called with the set's lock held.
func (w *peerWait) until(ctx context.Context, look func() (k *sessionPeer, err error)) (*sessionPeer, error) {
	limit := time.NewTimer(timeout(w.s.n.cfg.HandshakeTimeout))
	defer limit.Stop()
	for {
		w.s.mu.Lock()
		k, err := look()
		changed := w.e.changed
		w.s.mu.Unlock()
		if k != nil || err != nil {
			return k, err
		}
		select {
		case <-changed: // changedLocked
		case <-limit.C:
			return nil, fmt.Errorf("%w: nobody said hello", handshake.ReasonTimeout)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", handshake.ReasonTimeout, ctx.Err())
		case <-w.s.ctx.Done():
			return nil, handshake.ReasonShuttingDown
		}
	}
}

// outcome waits for a session with the peer, or for a handshake that fails. It is
// for those who have dialled.
func (w *peerWait) outcome(ctx context.Context) error {
	_, err := w.until(ctx, func() (*sessionPeer, error) {
		k := w.e.session.Load()
		if k == nil && w.e.failures != w.failures {
			return nil, w.e.failure
		}
		return k, nil
	})
	return err
}

// SessionOn implements session.Peers. The session may be ending, and is the one
// on that very connection, so that each message is taken by the session in which
// it was sent.
func (s *peerSet) SessionOn(ctx context.Context, c network.Conn) *session.Session {
	p := c.RemotePeer()
	e := s.view.Load().entries[p]
	if e == nil {
		return nil
	}
	if k := e.session.Load(); k != nil && k.conn == c {
		return k.session
	}
	k := s.awaitStream(ctx, p, func(e *peerEntry) (*sessionPeer, error) {
		if k := e.onLocked(c); k != nil {
			return k, nil
		}
		if !e.shakingLocked(c) {
			return nil, errNoHello
		}
		return nil, nil
	})
	if k == nil {
		return nil
	}
	return k.session
}

// member tells whether there is a session with a peer. It waits while there may
// soon be one: a peer's first streams may overtake the end of its handshake, and
// even its hello.
func (s *peerSet) member(p peer.ID) bool {
	return s.has(p) || s.awaitStream(s.ctx, p, func(e *peerEntry) (*sessionPeer, error) {
		if k := e.session.Load(); k != nil {
			return k, nil
		}
		if len(e.hellos) == 0 && !s.awaitsPeerLocked(p) {
			return nil, errNoHello
		}
		return nil, nil
	}) != nil
}

// awaitStream waits for an inbound stream.
func (s *peerSet) awaitStream(ctx context.Context, p peer.ID, look func(*peerEntry) (*sessionPeer, error)) *sessionPeer {
	w := s.begin(p, true)
	if w == nil {
		return nil
	}
	defer w.end()
	k, _ := w.until(ctx, func() (*sessionPeer, error) { return look(w.e) })
	return k
}
