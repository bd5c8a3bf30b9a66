package netservice

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// A node that has no place for a newcomer lets it ask once whom else there is,
// or a network would stop growing when its boot nodes are full.
const (
	guestTime  = 3 * time.Second // to ask in
	answerTime = time.Second     // for the answer to arrive
	maxGuests  = 64              // at a time
)

// guests are peers that were refused for want of a place and may ask once.
type guests struct {
	mu   sync.Mutex // guards asks
	asks map[peer.ID]*guest
}

type guest struct {
	asked chan struct{} // closed when it has asked
	done  bool
}

func newGuests() *guests { return &guests{asks: make(map[peer.ID]*guest)} }

// add lets a peer ask, until remove, unless there are too many.
func (g *guests) add(p peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asks[p] == nil && len(g.asks) < maxGuests {
		g.asks[p] = &guest{asked: make(chan struct{})}
	}
}

// asked is closed when a guest has asked; it is nil for who is none.
func (g *guests) asked(p peer.ID) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if x := g.asks[p]; x != nil {
		return x.asked
	}
	return nil
}

func (g *guests) remove(p peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.asks, p)
}

// take takes the one question of a guest.
func (g *guests) take(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.asks[p]
	if x == nil || x.done {
		return false
	}
	x.done = true
	close(x.asked)
	return true
}

// seeOff comes before the connection of a handshake is closed that one side
// refused because it has no free slot: the refused one asks for others, the
// other one waits for that.
func (n *Node) seeOff(ctx context.Context, x *handshaking, err error) {
	refused, ok := errors.AsType[*handshake.RefusedError](err)
	if !ok || n.peerSet.has(x.c.RemotePeer()) {
		return
	}
	if refused.ByRemote {
		if !n.live.Load().cfg.NoPeerExchange && n.peers.Wanted() > 0 {
			ctx, cancel := context.WithTimeout(ctx, guestTime)
			defer cancel()
			_ = n.exchange.AskGuest(ctx, x.c.RemotePeer()) // what comes of it is counted there
		}
		return
	}
	if x.opener {
		return
	}
	// A node of which all inbound slots are taken may still look for peers itself,
	// and know nobody who is not full as well: those who come are not. What they say
	// of themselves has come by the time they ask, and is gone when they are.
	learn := func() {
		if n.peers.Wanted() > 0 {
			n.exchange.Refused(x.c.RemotePeer())
		}
	}
	learn()
	asked := n.guests.asked(x.c.RemotePeer())
	if asked == nil {
		return
	}
	limit := time.NewTimer(guestTime)
	defer limit.Stop()
	select {
	case <-limit.C:
		return
	case <-ctx.Done():
		return
	case <-asked: // by take
		learn()
	}
	limit.Reset(answerTime)
	select {
	case <-limit.C:
	case <-ctx.Done():
	}
}
