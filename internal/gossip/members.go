package gossip

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// standing is what a peer may do.
type standing uint8

const (
	stranger standing = iota // nothing
	foreign                  // take part in open topics
	member                   // take part in all
)

// members holds peers' gossip streams back until it is known what the peers
// are. It wakes waiters when something changed, and they look again.
type members struct {
	isMember     func(peer.ID) bool
	connected    func(peer.ID) bool
	since        func(peer.ID) time.Time // when its oldest connection was made
	open         func() bool             // whether there are open topics
	foreignAfter time.Duration

	mu   sync.Mutex // guards wait
	wait map[peer.ID]*waiter
}

type waiter struct {
	n       int // goroutines that wait
	changed chan struct{}
}

func newMembers(c *Config, open func() bool) *members {
	isMember := c.Member
	if isMember == nil {
		isMember = func(peer.ID) bool { return true }
	}
	return &members{
		isMember:     isMember,
		connected:    func(p peer.ID) bool { return c.Host.Network().Connectedness(p) == network.Connected },
		since:        func(p peer.ID) time.Time { return oldest(c.Host.Network().ConnsToPeer(p)) },
		open:         open,
		foreignAfter: c.ForeignAfter,
		wait:         make(map[peer.ID]*waiter),
	}
}

func oldest(conns []network.Conn) time.Time {
	at := now()
	for _, c := range conns {
		if opened := c.Stat().Opened; opened.Before(at) {
			at = opened
		}
	}
	return at
}

// allows reports whether a peer takes part in a topic.
func (ms *members) allows(p peer.ID, t *topic) bool { return t.Open || ms.isMember(p) }

// await waits until p is a member, or may be treated as a foreigner. It returns
// stranger if p went away, or if ctx ended.
func (ms *members) await(ctx context.Context, p peer.ID) standing {
	if ms.isMember(p) {
		return member
	}
	// The wait counts from the connection on: what a foreigner's first stream has
	// waited for, its later ones and ours to it need not wait for again.
	patience := time.NewTimer(max(ms.foreignAfter-now().Sub(ms.since(p)), 0))
	defer patience.Stop()
	late := false
	for {
		changed := ms.enter(p)
		s, decided := ms.look(p, late)
		if decided {
			ms.leave(p)
			return s
		}
		select {
		case <-changed: // wake
		case <-patience.C:
			late = true
		case <-ctx.Done():
			ms.leave(p)
			return stranger
		}
		ms.leave(p)
	}
}

// look decides, if it can be decided now.
func (ms *members) look(p peer.ID, late bool) (standing, bool) {
	switch {
	case ms.isMember(p):
		return member, true
	case !ms.connected(p):
		return stranger, true
	case late && ms.open():
		return foreign, true
	}
	return stranger, false
}

func (ms *members) enter(p peer.ID) <-chan struct{} {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	w := ms.wait[p]
	if w == nil {
		w = &waiter{changed: make(chan struct{})}
		ms.wait[p] = w
	}
	w.n++
	return w.changed
}

func (ms *members) leave(p peer.ID) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if w := ms.wait[p]; w != nil {
		if w.n--; w.n <= 0 {
			delete(ms.wait, p)
		}
	}
}

// wake makes the waiters of p look again.
func (ms *members) wake(p peer.ID) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if w := ms.wait[p]; w != nil {
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// wakeAll makes everybody look again.
func (ms *members) wakeAll() {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, w := range ms.wait {
		close(w.changed)
		w.changed = make(chan struct{})
	}
}
