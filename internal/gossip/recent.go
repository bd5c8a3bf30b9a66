package gossip

import (
	"slices"
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

// remove forgets a message that nobody was sent.
func (r *recent) remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.queue) - 1; i >= 0; i-- { // most often the last
		if r.queue[i].id == id {
			r.queue = slices.Delete(r.queue, i, i+1)
			return
		}
	}
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
	newcomers := l.tracker.newcomers(at)
	said := make(map[string]have)
	for p, names := range newcomers {
		for _, name := range names {
			if h, ok := l.have(said, name, oldest); ok {
				haves[p] = append(haves[p], h)
			}
		}
		l.grafts.told(p, names, at)
	}
	for p, since := range grafted {
		if _, all := newcomers[p]; all {
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

// have is all that a topic of the lane has said since a time. Those that were
// looked up are kept in said.
func (l *lane) have(said map[string]have, name string, since time.Time) (h have, ok bool) {
	if h, ok = said[name]; ok {
		return h, true
	}
	t := l.e.byName(name)
	if t == nil || !t.in(l) || !t.ready.Load() {
		return h, false
	}
	h = have{t, t.recent.since(since)}
	said[name] = h
	return h, true
}

// announce is called in the loop. Peers that take no part in gossip are not told,
// for their score.
func (l *lane) announce(haves map[peer.ID][]have) {
	for p, hs := range haves {
		if l.tracker.score(p) < l.e.cfg.Params.GossipThreshold {
			continue
		}
		budget := answerMost
		c := &pb.ControlMessage{}
		for _, h := range hs {
			if !l.e.members.allows(p, h.t) {
				continue
			}
			ids := h.ids
			if !l.e.members.isMember(p) {
				// The newest. A router of others with its defaults ends the
				// stream on which a larger answer comes.
				size := len(h.t.Name) + perMessage
				ids = ids[max(0, len(ids)-budget/size):]
				budget -= len(ids) * size
			}
			if len(ids) > 0 {
				c.Ihave = append(c.Ihave, &pb.ControlIHave{TopicID: &h.t.Name, MessageIDs: ids})
				h.t.n.announced.Inc(int64(len(ids)))
			}
		}
		if len(c.Ihave) > 0 {
			l.rt.SendControl(p, c)
		}
	}
}

const (
	// answerMost bounds what surrounds the data in an answer of a foreigner's
	// announcement, in bytes: half of what go-libp2p-pubsub takes by default.
	answerMost = 256 << 10
	// perMessage is most of what surrounds the data of a message beside its topic:
	// author, sequence number and signature.
	perMessage = 160
)
