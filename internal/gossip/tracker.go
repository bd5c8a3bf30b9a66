package gossip

import (
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// tracker mirrors what the router knows of its peers.
type tracker struct {
	mu     sync.Mutex // guards the fields below
	peers  map[peer.ID]*tracked
	scores map[peer.ID]float64
	greet  map[peer.ID]struct{} // peers that have something new to be told
}

type tracked struct {
	protocol protocol.ID         // of the stream to the peer; empty before it is open
	mesh     map[string]struct{} // nil before the first graft
	told     bool                // it has said what it subscribes to
	heard    map[string]struct{} // topics of its that are not declared here
	greeted  time.Time
}

// maxHeard bounds the topics that are remembered of a peer though they are not
// declared.
const maxHeard = 64

// greetEvery bounds how often one peer can have itself greeted.
const greetEvery = 5 * time.Second

func newTracker() *tracker {
	return &tracker{peers: make(map[peer.ID]*tracked), greet: make(map[peer.ID]struct{})}
}

func (k *tracker) open(p peer.ID, id protocol.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peerLocked(p)
	t.protocol = id
	if t.told {
		k.greet[p] = struct{}{}
	}
}

// isOpen reports whether there is a stream to the peer.
func (k *tracker) isOpen(p peer.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peers[p]
	return t != nil && t.protocol != ""
}

// closed forgets a peer and returns the topics in whose mesh it was.
func (k *tracker) closed(p peer.ID) (names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.peers[p]; t != nil {
		for name := range t.mesh {
			names = append(names, name)
		}
	}
	delete(k.peers, p)
	delete(k.greet, p)
	return names
}

func (k *tracker) graft(p peer.ID, name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peerLocked(p)
	if _, ok := t.mesh[name]; ok {
		return false
	}
	if t.mesh == nil {
		t.mesh = make(map[string]struct{})
	}
	t.mesh[name] = struct{}{}
	return true
}

// peerLocked makes an entry on first use: a peer may graft before the stream to
// it is open.
func (k *tracker) peerLocked(p peer.ID) *tracked {
	t := k.peers[p]
	if t == nil {
		t = &tracked{}
		k.peers[p] = t
	}
	return t
}

func (k *tracker) prune(p peer.ID, name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peers[p]
	if t == nil {
		return false
	}
	_, ok := t.mesh[name]
	delete(t.mesh, name)
	return ok
}

// hear notes that a peer subscribes to a topic that is not declared, or does so
// no more, and reports whether the router is to know.
func (k *tracker) hear(p peer.ID, name string, subscribe bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peerLocked(p)
	_, known := t.heard[name]
	switch {
	case !subscribe:
		delete(t.heard, name)
		return known
	case known:
		return true
	case len(t.heard) >= maxHeard:
		return false
	case t.heard == nil:
		t.heard = make(map[string]struct{})
	}
	t.heard[name] = struct{}{}
	return true
}

func (k *tracker) subscribed(p peer.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.peerLocked(p).told = true
	k.greet[p] = struct{}{}
}

// newcomers returns the peers that have subscribed, can be sent to and were not
// greeted since, and takes them for greeted.
func (k *tracker) newcomers(now time.Time) []peer.ID {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []peer.ID
	for p := range k.greet {
		if t := k.peers[p]; t != nil && t.protocol != "" && now.Sub(t.greeted) >= greetEvery {
			t.greeted = now
			out = append(out, p)
			delete(k.greet, p)
		}
	}
	return out
}

func (k *tracker) setScores(s map[peer.ID]float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.scores = s
}

// snapshot returns copies.
func (k *tracker) snapshot() (peers map[peer.ID]tracked, scores map[peer.ID]float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	peers = make(map[peer.ID]tracked, len(k.peers))
	for p, t := range k.peers {
		peers[p] = tracked{protocol: t.protocol, mesh: maps.Clone(t.mesh)}
	}
	return peers, maps.Clone(k.scores)
}
