package gossip

import (
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// recent remembers the IDs of the messages of a topic that peers can ask for. The
// router announces them to peers outside the mesh only; a peer that is grafted,
// or is so as soon as it connects, would never hear of what was said just before.
type recent struct {
	mu    sync.Mutex // guards queue
	queue []said     // oldest first
}

type said struct {
	id string
	at time.Time
}

// maxRecent is how many messages of a topic are announced to a peer at most;
// receivers accept 5,000.
const maxRecent = 4096

// add notes a message, and forgets those older than window.
func (r *recent) add(id string, at time.Time, window time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := 0
	for old < len(r.queue) && (at.Sub(r.queue[old].at) > window || len(r.queue)-old >= maxRecent) {
		old++
	}
	clear(r.queue[:old])
	r.queue = append(r.queue[old:], said{id, at})
}

// since returns the IDs of messages not older than t.
func (r *recent) since(t time.Time) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.queue {
		if !s.at.Before(t) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// window is how long a message is announced.
func (p Params) window() time.Duration { return time.Duration(p.HistoryGossip) * p.Heartbeat }

// said notes a message that peers can ask this node for from now on.
func (t *topic) said(id string) { t.recent.add(id, now(), t.l.e.cfg.Params.window()) }

// have is what a peer is told of a topic.
type have struct {
	t   *topic
	ids []string
}

// greet tells new peers, and those that were grafted, what this node has. It is
// called outside of the loop.
func (l *lane) greet() {
	at := now()
	oldest := at.Add(-l.e.cfg.Params.window())
	// First, so that nothing is said between the list and the graft.
	grafted := l.grafts.due(at, oldest, l.e.cfg.Params.Heartbeat, l.tracker.isOpen)
	haves := make(map[peer.ID][]have)
	if peers := l.tracker.newcomers(at); len(peers) > 0 {
		all := l.haves(oldest)
		for _, p := range peers {
			haves[p] = all
		}
	}
	for p, since := range grafted {
		if len(haves[p]) > 0 {
			continue // it is told everything
		}
		for name, from := range since {
			if t := l.e.byName(name); t != nil {
				haves[p] = append(haves[p], have{t, t.recent.since(from)})
			}
		}
	}
	if len(haves) > 0 {
		_ = l.do(l.e.work, func() { l.announce(haves) })
	}
}

// haves is all that the lane's topics have said since a time.
func (l *lane) haves(since time.Time) (all []have) {
	for _, t := range l.e.topics() {
		if t.in(l) && t.ready.Load() {
			all = append(all, have{t, t.recent.since(since)})
		}
	}
	return all
}

// announce is called in the loop.
func (l *lane) announce(haves map[peer.ID][]have) {
	for p, hs := range haves {
		c := &pb.ControlMessage{}
		for _, h := range hs {
			if len(h.ids) > 0 && l.e.members.allows(p, h.t) {
				c.Ihave = append(c.Ihave, &pb.ControlIHave{TopicID: &h.t.Name, MessageIDs: h.ids})
				h.t.n.announced.Inc(int64(len(h.ids)))
			}
		}
		if len(c.Ihave) > 0 {
			l.rt.SendControl(p, c)
		}
	}
}
