package stream

import (
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Group is the streams of one listener, with limits and totals of its own.
type Group struct {
	reg      *Registry
	set      Settings
	in, out  atomic.Uint64 // bytes, of streams that have ended too
	accepted atomic.Uint64
	refused  atomic.Uint64

	// Guarded by reg.mu.
	streams map[uint64]*Stream
	perPeer map[peer.ID]int
	closed  bool
	empty   func() // to be called when it is closed and the last stream has ended
}

// Totals is what a group has carried since it was made.
type Totals struct {
	Active            int
	Accepted, Refused uint64 // streams let in, and refused by limits or rules
	BytesIn, BytesOut uint64 // from and to the peers
}

// Totals returns the sums over running and ended streams.
func (g *Group) Totals() Totals {
	g.reg.mu.Lock()
	n := len(g.streams)
	g.reg.mu.Unlock()
	return Totals{
		Active: n, Accepted: g.accepted.Load(), Refused: g.refused.Load(),
		BytesIn: g.in.Load(), BytesOut: g.out.Load(),
	}
}

// Refuse counts a stream that was turned away.
func (g *Group) Refuse(err error) {
	g.refused.Add(1)
	g.reg.met.refused(err)
}

// List returns the running streams of the group.
func (g *Group) List() []Info { return infos(filter(g.all(false), nil)) }

// Stop refuses new streams from now on, and leaves those that run.
func (g *Group) Stop() {
	g.reg.mu.Lock()
	g.closed = true
	empty := g.emptyLocked()
	g.reg.mu.Unlock()
	if empty != nil {
		empty()
	}
}

// emptyLocked returns what WhenEmpty has left to be called now, or nil.
func (g *Group) emptyLocked() (empty func()) {
	if g.closed && len(g.streams) == 0 {
		empty, g.empty = g.empty, nil
	}
	return empty
}

// WhenEmpty has f called once the group is stopped and no stream runs, maybe at
// once. f must not block.
func (g *Group) WhenEmpty(f func()) {
	g.reg.mu.Lock()
	g.empty = f
	empty := g.emptyLocked()
	g.reg.mu.Unlock()
	if empty != nil {
		empty()
	}
}

// Close refuses new streams, resets those that run, waits for their goroutines
// and returns them as they were.
func (g *Group) Close() []Info { return closeAll(filter(g.all(true), nil)) }

func (g *Group) all(closing bool) []*Stream {
	g.reg.mu.Lock()
	defer g.reg.mu.Unlock()
	g.closed = g.closed || closing
	list := make([]*Stream, 0, len(g.streams))
	for _, s := range g.streams {
		list = append(list, s)
	}
	return list
}

// protector tells the owner of the registry which peers have streams. The lock is
// held during the calls, because they must alternate; they are the connection
// manager's Protect and Unprotect, which call nobody.
type protector struct {
	hold, release func(peer.ID)

	mu    sync.Mutex // guards count
	count map[peer.ID]int
}

func (h *protector) add(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count[p]++; h.count[p] == 1 && h.hold != nil {
		h.hold(p)
	}
}

func (h *protector) remove(p peer.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	decrement(h.count, p)
	if h.count[p] == 0 && h.release != nil {
		h.release(p)
	}
}
