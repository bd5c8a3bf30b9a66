package gossip

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// grafts knows which peers were grafted and have still to be told what was said
// in the topic of late. The router sends a mesh peer what is said from its graft
// on, and announces what was said before to peers outside of the mesh only. What
// was said while a peer was known and not grafted, it would not hear of.
type grafts struct {
	mu    sync.Mutex // guards the field below
	peers map[peer.ID]*grafted
}

// grafted is one peer.
type grafted struct {
	topics map[string]struct{}  // in which it was not told yet
	told   map[string]time.Time // when it was, of late
	last   time.Time            // when it was last told something
}

func newGrafts() grafts { return grafts{peers: make(map[peer.ID]*grafted)} }

// add notes that a peer was grafted.
func (g *grafts) add(p peer.ID, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.peerLocked(p).topics[name] = struct{}{}
}

func (g *grafts) peerLocked(p peer.ID) *grafted {
	k := g.peers[p]
	if k == nil {
		k = &grafted{topics: make(map[string]struct{}), told: make(map[string]time.Time)}
		g.peers[p] = k
	}
	return k
}

// remove notes that a peer was pruned.
func (g *grafts) remove(p peer.ID, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if k := g.peers[p]; k != nil {
		delete(k.topics, name)
	}
}

// forget removes a peer.
func (g *grafts) forget(p peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.peers, p)
}

// told notes that a peer was told all there was in some topics.
func (g *grafts) told(p peer.ID, names []string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.peerLocked(p)
	for _, name := range names {
		k.told[name] = now
		delete(k.topics, name)
	}
	k.last = now
}

// due returns the topics in which peers are to be told what was said, with the
// time from which on, and takes them for told. A peer is told once in a gap, and
// nothing that it was told before. ready says which peers can be sent to; the
// others stay. What was said before oldest nobody needs to be told.
func (g *grafts) due(now, oldest time.Time, gap time.Duration, ready func(peer.ID) bool) map[peer.ID]map[string]time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out map[peer.ID]map[string]time.Time
	for p, k := range g.peers {
		if len(k.topics) == 0 && k.last.Before(oldest) {
			delete(g.peers, p) // what it was told is forgotten everywhere
			continue
		}
		if len(k.topics) == 0 || now.Sub(k.last) < gap || !ready(p) {
			continue
		}
		if out == nil {
			out = make(map[peer.ID]map[string]time.Time)
		}
		out[p] = k.take(now, oldest)
	}
	return out
}

func (k *grafted) take(now, oldest time.Time) map[string]time.Time {
	for name, at := range k.told {
		if at.Before(oldest) {
			delete(k.told, name)
		}
	}
	since := make(map[string]time.Time, len(k.topics))
	for name := range k.topics {
		since[name] = oldest
		if at, ok := k.told[name]; ok {
			since[name] = at
		}
		k.told[name] = now
	}
	clear(k.topics)
	k.last = now
	return since
}
