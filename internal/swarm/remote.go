package swarm

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

const (
	// controlMost is how many bytes of frames may wait for one peer: one that does not
	// take them is started with anew.
	controlMost = 4 << 20
	// reopenAfter is how long after a stream has ended the next one is opened. The peer
	// must have noticed the end first.
	reopenAfter = 500 * time.Millisecond
)

// remote is a peer that is connected. All fields are guarded by Engine.mu.
type remote struct {
	e  *Engine
	id peer.ID

	member bool
	in     network.Stream // being read
	early  network.Stream // not read before the peer is a member

	control []byte // frames, encoded
	ready   bool   // the scheduler may have a chunk
	chunk   *wire.Frame

	out     network.Stream
	writing bool               // a goroutine writes
	wake    chan struct{}      // to it: there is something; capacity 1
	cut     context.CancelFunc // ends its wait for the lowest class; nil while it does not
	resting bool               // a stream has ended: nothing is opened for a moment
}

func (e *Engine) remoteLocked(p peer.ID) *remote {
	r := e.peers[p]
	if r == nil {
		r = &remote{e: e, id: p, wake: make(chan struct{}, 1)}
		e.peers[p] = r
	}
	return r
}

// PeerChanged has the engine ask Config.Takes about a peer: it is a member now, or no
// more.
func (e *Engine) PeerChanged(p peer.ID) {
	var todo []sched.Effect
	e.mu.Lock()
	types, member := e.cfg.Takes(p) // under the lock: what OfferChanged tells meanwhile comes after
	r := e.peers[p]
	switch {
	case e.closed || r == nil && !member:
	case !member:
		e.endLocked(r)
		r.member = false
		todo = e.stepLocked(sched.Event{Kind: sched.Down, Peer: p}, nil)
		delete(e.peers, p)
	default:
		r = e.remoteLocked(p)
		r.member = true
		if !r.resting {
			todo = e.stepLocked(sched.Event{Kind: sched.Takes, Peer: p, Takes: types}, nil)
		}
		if s := r.early; s != nil {
			r.early = nil
			e.beginReadLocked(r, s)
		}
	}
	e.unlock()
	e.finish(todo)
}

// OfferChanged tells how large a message of one type may be that a member takes now; 0: it
// takes none.
func (e *Engine) OfferChanged(p peer.ID, typ string, most int) {
	var todo []sched.Effect
	e.mu.Lock()
	if r := e.peers[p]; !e.closed && r != nil && r.member && !r.resting {
		todo = e.stepLocked(sched.Event{Kind: sched.TakesOf, Peer: p, Type: typ, Most: most}, nil)
	}
	e.unlock()
	e.finish(todo)
}

// disconnected forgets a peer that was no member, and of which no connection is left.
func (e *Engine) disconnected(p peer.ID) {
	if e.cfg.Host.Network().Connectedness(p) == network.Connected {
		return
	}
	var todo []sched.Effect
	e.mu.Lock()
	if r := e.peers[p]; r != nil {
		e.endLocked(r)
		todo = e.stepLocked(sched.Event{Kind: sched.Down, Peer: p}, nil)
		delete(e.peers, p)
	}
	e.unlock()
	e.finish(todo)
}

// endLocked ends all streams with a peer. They are reset beside, which may take its time
// on a line that is slow.
func (e *Engine) endLocked(r *remote) {
	for _, s := range []*network.Stream{&r.in, &r.early, &r.out} {
		if st := *s; st != nil {
			*s = nil
			e.wg.Go(func() { _ = st.Reset() })
		}
	}
	r.clearLocked()
	r.signalLocked()
}

func (r *remote) clearLocked() { r.control, r.ready, r.chunk = nil, false, nil }

// sayLocked queues a frame, before all chunks.
func (r *remote) sayLocked(f *wire.Frame) {
	if len(r.control) > controlMost {
		return // the stream ends, see write
	}
	r.control = wire.Append(r.control, f)
	r.startLocked()
}

// startLocked sees to it that somebody writes what waits.
func (r *remote) startLocked() {
	switch {
	case !r.member || r.resting:
	case r.writing:
		r.signalLocked()
	default:
		r.writing = r.e.spawnLocked(func() { r.e.write(r) })
	}
}

func (r *remote) signalLocked() {
	if r.cut != nil && len(r.control) > 0 {
		r.cut()
		r.cut = nil
	}
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway, or there is nobody
	}
}

// startAgain makes a new beginning with a peer after a stream to it, or from it, has
// ended: what was said on that is void for both.
func (e *Engine) startAgain(r *remote) {
	var todo []sched.Effect
	e.mu.Lock()
	if e.peers[r.id] != r || !r.member {
		e.unlock()
		return
	}
	s := r.out
	r.out = nil
	r.clearLocked()
	todo = e.stepLocked(sched.Event{Kind: sched.Down, Peer: r.id}, nil)
	if !r.resting {
		r.resting = e.spawnLocked(func() {
			select {
			case <-time.After(reopenAfter):
			case <-e.life.Done():
				return
			}
			e.mu.Lock()
			r.resting = false
			e.mu.Unlock()
			e.PeerChanged(r.id)
		})
	}
	e.unlock()
	if s != nil {
		_ = s.Reset()
	}
	e.finish(todo)
}
