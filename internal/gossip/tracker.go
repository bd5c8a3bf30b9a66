package gossip

import (
	"maps"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
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
	subs     []string            // declared topics that it subscribes to; the names are those of the topics
	early    *early              // grafts that came before the stream to it was open
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

// open notes that there is a stream to the peer, and returns the grafts that came
// before it, if any.
func (k *tracker) open(p peer.ID, id protocol.ID) *early {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peerLocked(p)
	t.protocol = id
	if len(t.subs) > 0 {
		k.greet[p] = struct{}{}
	}
	e := t.early
	t.early = nil
	return e
}

// early are grafts that are handed to the router later. Only the frame knows from
// whom it is.
type early struct {
	frame  *pubsub.RPC
	grafts []*pb.ControlGraft
}

// rpc is a frame with the grafts alone. What else was in it has been handled.
func (e *early) rpc() *pubsub.RPC {
	e.frame.Subscriptions, e.frame.Publish = nil, nil
	e.frame.Control = &pb.ControlMessage{Graft: e.grafts}
	return e.frame
}

// postpone takes the grafts out of a frame of a peer to which there is no stream,
// and keeps them until there is. The router would keep the peer in the mesh for
// ever if it went away before that.
func (k *tracker) postpone(p peer.ID, rpc *pubsub.RPC) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peerLocked(p)
	if t.protocol != "" {
		return
	}
	switch {
	case t.early != nil && len(t.early.grafts)+len(rpc.Control.Graft) <= maxControl:
		t.early.grafts = append(t.early.grafts, rpc.Control.Graft...)
	case t.early == nil && len(rpc.Publish) == 0: // else much would be kept for it
		t.early = &early{rpc, rpc.Control.Graft}
	}
	rpc.Control.Graft = nil
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

// subscribed notes that a peer subscribes to a declared topic, or no more.
func (k *tracker) subscribed(p peer.ID, name string, subscribe bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.peerLocked(p)
	i := slices.Index(t.subs, name)
	switch {
	case subscribe && i < 0:
		t.subs = append(t.subs, name)
		k.greet[p] = struct{}{}
	case !subscribe && i >= 0:
		t.subs = slices.Delete(t.subs, i, i+1)
	}
}

// newcomers returns the peers that have subscribed, can be sent to and were not
// greeted since, with what they subscribe to, and takes them for greeted.
func (k *tracker) newcomers(now time.Time) map[peer.ID][]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out map[peer.ID][]string
	for p := range k.greet {
		if t := k.peers[p]; t != nil && t.protocol != "" && now.Sub(t.greeted) >= greetEvery {
			t.greeted = now
			if out == nil {
				out = make(map[peer.ID][]string)
			}
			out[p] = slices.Clone(t.subs)
			delete(k.greet, p)
		}
	}
	return out
}

// score is a peer's as of the last inspection, 0 for one that has none yet.
func (k *tracker) score(p peer.ID) float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.scores[p]
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
