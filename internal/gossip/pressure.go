package gossip

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// When a peer's queue is full, whoever has more for it waits: Publish until the queue
// is half empty, and the reader of a peer that brought a message for it, too, but not
// for ever. A reader that waits has its peer's queue here fill up in turn, and so on
// back to the author. Since a mesh has circles, all of a circle may wait for each
// other; so a reader waits only the longer the fuller the queue is, and then takes
// what has come, for which a queue has space far beyond its mark.

const (
	// leastWait is how long a reader waits for a queue that is full, mostWait what
	// comes on top when it has used up all of its bound.
	leastWait = 100 * time.Millisecond
	mostWait  = 10 * time.Second
)

// eased is called when the queue of a peer is no longer full.
func (e *Engine) eased(r *remote) {
	var out outcome
	e.mu.Lock()
	defer e.unlock()
	if !r.out.isFull() {
		e.stepLocked(router.Event{Kind: router.Full, Peer: r.id}, &out)
	}
}

// relieveLocked has those look again who wait for full queues.
func (e *Engine) relieveLocked() {
	close(e.relief)
	e.relief = make(chan struct{})
}

// slowLocked notes that nobody waits for a peer any more.
func (e *Engine) slowLocked(p peer.ID) {
	e.cfg.Obs.Counter(obs.GossipSlow).Inc(1)
	if r := e.peers[p]; r != nil {
		r.slow++
	}
}

// admitLocked locks mu, as soon as no peer is full that an own message is to go to,
// or one that came from a peer. After an error mu is free.
func (e *Engine) admitLocked(ctx context.Context, t *topic, from peer.ID) error {
	waited := false
	for {
		e.mu.Lock()
		if !e.router.Pressed(t.Name, from) {
			return nil
		}
		if !waited {
			waited = true
			t.own.held++
		}
		relief := e.relief
		e.mu.Unlock()
		select {
		case <-relief: // relieveLocked
		case <-ctx.Done():
			return fmt.Errorf("%w: peers of %s take no more: %w", ErrQueueFull, t.Type, ctx.Err())
		case <-e.work.Done():
			return ErrClosed
		}
	}
}

// awaitQueues waits while a peer is full that is sent what the reader has brought.
func (rd *reader) awaitQueues() {
	e := rd.e
	defer func() { rd.brought = rd.brought[:0] }()
	if !e.pressing.Load() {
		return
	}
	var enough <-chan time.Time
	for {
		e.mu.Lock()
		pressed := slices.ContainsFunc(rd.brought, func(t *topic) bool { return e.router.Pressed(t.Name, rd.r.id) })
		if !pressed {
			e.mu.Unlock()
			return
		}
		if enough == nil {
			timer := time.NewTimer(leastWait + time.Duration(e.fillLocked()*float64(mostWait)))
			defer timer.Stop()
			enough = timer.C
		}
		relief := e.relief
		e.mu.Unlock()
		select {
		case <-relief: // relieveLocked
		case <-enough:
			return
		case <-e.work.Done():
			return
		}
	}
}

// awaitValidation waits while too much of what the reader has brought waits to be validated.
func (rd *reader) awaitValidation() {
	e := rd.e
	for len(rd.brought) > 0 && e.pressing.Load() {
		e.mu.Lock()
		full := slices.ContainsFunc(rd.brought, func(t *topic) bool { return e.router.TopicFull(t.Name, rd.r.id) })
		relief := e.relief
		e.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-relief: // relieveLocked
		case <-e.work.Done():
			return
		}
	}
}

// fillLocked is which part of its bound the fullest queue takes up.
func (e *Engine) fillLocked() (part float64) {
	for _, r := range e.peers {
		part = max(part, r.out.fill())
	}
	return min(part, 1)
}
