package gossip

import (
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// recent remembers the IDs of the messages of a topic that peers can ask for. The
// router announces them to peers outside the mesh only; a peer that is grafted
// as soon as it connects would never hear of what was said just before.
type recent struct {
	mu    sync.Mutex // guards queue
	queue []said     // oldest first
}

type said struct {
	id string
	at time.Time
}

// maxRecent is how many messages of a topic are announced to a new peer at most;
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

// greet tells new peers what this node has. It is called outside of the loop.
func (l *lane) greet() {
	peers := l.tracker.newcomers(now())
	if len(peers) == 0 {
		return
	}
	since := now().Add(-l.e.cfg.Params.window())
	haves := make(map[*topic]*pb.ControlIHave)
	for _, t := range l.e.topics() {
		if !t.in(l) || !t.ready.Load() {
			continue
		}
		if ids := t.recent.since(since); len(ids) > 0 {
			haves[t] = &pb.ControlIHave{TopicID: &t.Name, MessageIDs: ids}
		}
	}
	if len(haves) > 0 {
		_ = l.do(l.e.work, func() { l.announce(peers, haves) })
	}
}

// announce is called in the loop.
func (l *lane) announce(peers []peer.ID, haves map[*topic]*pb.ControlIHave) {
	for _, p := range peers {
		c := &pb.ControlMessage{}
		for t, h := range haves {
			if l.e.members.allows(p, t) {
				c.Ihave = append(c.Ihave, h)
			}
		}
		if len(c.Ihave) > 0 {
			l.rt.SendControl(p, c)
		}
	}
}
