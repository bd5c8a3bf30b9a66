package p2p

import (
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/stream"
)

// To decide about a peer may take a while, and strangers must not hold the places of
// those who are let in meanwhile. So undecided streams have a pool of their own. When
// it is full, the newcomer takes the place of the oldest stream of the peer that has
// most: many strangers cannot keep out one peer, which is decided on at once.
const (
	maxUndecided        = 512
	maxUndecidedPerPeer = 64
)

// undecided are the streams about whose peers is being decided.
type undecided struct {
	mu      sync.Mutex // guards the fields below
	waiting []*candidate
	asking  map[peer.ID]int // of a peer, those that have lost their place included
}

// candidate is one of them.
type candidate struct {
	peer   peer.ID
	remote network.Stream
}

// enter gives a stream a place. The stream that loses its own is to be reset; the
// error is a limit.
func (u *undecided) enter(c *candidate) (loser *candidate, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asking[c.peer] >= maxUndecidedPerPeer {
		return nil, &stream.LimitError{Scope: stream.ScopePeer, Limit: maxUndecidedPerPeer}
	}
	if len(u.waiting) >= maxUndecided {
		i := most(u.waiting)
		loser = u.waiting[i]
		u.waiting = slices.Delete(u.waiting, i, i+1)
	}
	u.waiting = append(u.waiting, c)
	u.asking[c.peer]++
	return loser, nil
}

// most is the place of the oldest stream of the peer that has most.
func most(waiting []*candidate) (oldest int) {
	count := make(map[peer.ID]int)
	for _, c := range waiting {
		count[c.peer]++
	}
	for i, c := range waiting {
		if count[c.peer] > count[waiting[oldest].peer] {
			oldest = i
		}
	}
	return oldest
}

// leave ends the wait. It is false when the stream has lost its place.
func (u *undecided) leave(c *candidate) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asking[c.peer]--; u.asking[c.peer] == 0 {
		delete(u.asking, c.peer)
	}
	i := slices.Index(u.waiting, c)
	if i >= 0 {
		u.waiting = slices.Delete(u.waiting, i, i+1)
	}
	return i >= 0
}
