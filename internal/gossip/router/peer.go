package router

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// Peer is what the router knows of a peer.
type Peer struct {
	ID          peer.ID
	in, out     bool // streams
	level       Level
	dialled     bool // by this node
	member      bool
	direct      bool
	unvalidated bool // has been so in some topic
	gone        bool // no longer in the book
	extended    bool // has announced extensions

	topics []*topicPeer
	heard  []string // topics that are not declared here
	say    *rpc.Control
	saying bool // is in Router.speakers

	most    map[string]int // bytes of data that it takes, by topic; nil: all that is allowed here
	spent   spent
	refused map[string]uint64 // message ID → tick until which it is not wanted
	missed  []string          // message IDs that its queue did not take

	tellAt   time.Time // before that nothing is told to it
	lastTold time.Time

	pressure pressure
	stats    peerStats
}

// spent is what a peer has used in this heartbeat.
type spent struct{ haveFrames, asked, have, want, refusals int }

// topicPeer is what is known of a peer in a topic.
type topicPeer struct {
	p *Peer
	t *Topic

	subscribed  bool // the peer takes part
	announced   bool // the peer was told that this node takes part
	mesh        bool
	fanout      bool
	early       bool // it grafted before there was a stream to it
	sameNames   bool // it has announced a message by the name that it has here
	unvalidated bool // it passes on what it has not validated by the rules of this node
	backoff     time.Time

	due  bool   // it is to be told what was said
	told uint64 // number of the last message that it was told of

	stats topicStats
	value float64 // of stats, in the peer's score
}

func (r *Router) peer(id peer.ID) *Peer {
	p := r.peers[id]
	if p == nil {
		p = &Peer{ID: id}
		if _, ok := r.direct[id]; ok {
			p.direct = true
		}
		r.peers[id] = p
		r.order = append(r.order, p)
	}
	return p
}

// topicPeer finds or makes what is known of a peer in a topic.
func (p *Peer) topicPeer(t *Topic) *topicPeer {
	if tp := p.find(t); tp != nil {
		return tp
	}
	tp := &topicPeer{p: p, t: t}
	p.topics = append(p.topics, tp)
	return tp
}

func (p *Peer) find(t *Topic) *topicPeer {
	for _, tp := range p.topics {
		if tp.t == t {
			return tp
		}
	}
	return nil
}

// allows reports whether a peer takes part in a topic.
func (t *Topic) allows(p *Peer) bool { return t.spec.Open || p.member }

// named reports whether the peer knows messages by the names that they have here.
// Members do; others may have names of their own. They are neither told of messages
// by name nor asked for them: whoever asks for what it has already, under another
// name, counts it against the peer that announced it.
func (tp *topicPeer) named() bool { return tp.p.member || tp.sameNames }

// reachable reports whether there is a stream to the peer on which a topic may be
// spoken of.
func (tp *topicPeer) reachable() bool { return tp.p.out && tp.t.allows(tp.p) }

func (r *Router) opened(ev Event) {
	p := r.peer(ev.Peer)
	p.out, p.level, p.dialled = true, ev.Level, ev.On
	p.extended = false
	for _, t := range r.list {
		if t.joined {
			r.announce(p.topicPeer(t), true)
		}
	}
	for _, tp := range p.topics {
		if tp.early {
			tp.early = false
			r.graftFrom(p, tp.t)
		}
		if tp.subscribed {
			r.tell(tp)
			r.flushPending(tp.t)
		}
	}
}

func (r *Router) closed(ev Event) {
	p := r.peers[ev.Peer]
	if p == nil {
		return
	}
	p.out, p.say = false, nil
	for _, tp := range p.topics {
		r.prune(tp)
		tp.leaveFanout()
		tp.announced, tp.due, tp.early = false, false, false
		tp.told = 0
	}
	p.missed, p.refused = nil, nil
	r.setFull(p, false)
	// Who opens streams again and again is not told everything each time.
	p.tellAt = later(p.tellAt, p.lastTold.Add(greetEvery))
	r.release(p)
}

// silent forgets what the peer said on its stream.
func (r *Router) silent(ev Event) {
	p := r.peers[ev.Peer]
	if p == nil {
		return
	}
	p.in, p.heard, p.extended = false, nil, false
	for _, tp := range p.topics {
		r.unsubscribe(tp)
		tp.early = false
	}
	r.release(p)
}

// setMember changes what a peer may take part in.
func (r *Router) setMember(ev Event) {
	p := r.peer(ev.Peer)
	if p.member == ev.On {
		return
	}
	p.member = ev.On
	for _, t := range r.list {
		tp := p.find(t)
		switch {
		case t.spec.Open:
		case ev.On:
			if t.joined && p.out {
				r.announce(p.topicPeer(t), true)
			}
			if tp != nil && tp.subscribed {
				r.tell(tp)
				r.flushPending(t)
			}
		case tp != nil:
			r.prune(tp)
			tp.leaveFanout()
			tp.due = false
		}
	}
}

// setBound notes what a peer takes. It is never sent more, nor told of it: it could
// not tell that from a message that breaks the rules, and would count it against this
// node.
func (r *Router) setBound(ev Event) {
	p := r.peer(ev.Peer)
	switch {
	case ev.Most > 0:
		if p.most == nil {
			p.most = make(map[string]int)
		}
		p.most[ev.Topic] = ev.Most
	case p.most != nil:
		delete(p.most, ev.Topic)
		if t := r.topics[ev.Topic]; t != nil {
			r.flushPending(t)
		}
	}
}

// setUnvalidated notes whether a peer validates what it passes on.
func (r *Router) setUnvalidated(ev Event) {
	if t := r.topics[ev.Topic]; t != nil {
		p := r.peer(ev.Peer)
		p.topicPeer(t).unvalidated = ev.On
		p.unvalidated = p.unvalidated || ev.On
	}
}

// takes reports whether a message is short enough for the peer.
func (p *Peer) takes(e *entry) bool {
	if p.most == nil {
		return true
	}
	most, bounded := p.most[e.topic.spec.Name]
	return !bounded || len(e.msg.Data) <= most
}

// takenBy is those of some IDs whose messages the peer takes.
func (r *Router) takenBy(p *Peer, ids []string) []string {
	if p.most == nil {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		e := r.book[id]
		return e == nil || e.msg == nil || !p.takes(e)
	})
}

func (r *Router) setDirect(ev Event) {
	if ev.On {
		r.direct[ev.Peer] = struct{}{}
	} else {
		delete(r.direct, ev.Peer)
	}
	p := r.peers[ev.Peer]
	if p == nil || p.direct == ev.On {
		return
	}
	p.direct = ev.On
	if ev.On {
		// Direct peers are sent everything and belong to no mesh.
		for _, tp := range p.topics {
			if tp.mesh {
				r.prune(tp)
				r.sayPrune(tp, r.cfg.Mesh.PruneBackoff, false)
			}
			if tp.subscribed {
				r.flushPending(tp.t)
			}
		}
	}
}

// release decides what is kept of a peer of which no stream is left.
func (r *Router) release(p *Peer) {
	if p.in || p.out {
		return
	}
	p.member, p.most = false, nil
	for _, tp := range p.topics {
		tp.stats.first, tp.unvalidated = 0, false
	}
	r.rescoreAll(p)
	p.stats.expire = r.now.Add(r.cfg.Score.Retain)
	if !r.worthKeeping(p) {
		r.forgetPeer(p)
	}
}

// worthKeeping reports whether a peer that is not connected has something on its account: a
// bad score, patience (see pressure) that was used, or a back-off that still runs.
func (r *Router) worthKeeping(p *Peer) bool {
	if r.score(p) < 0 && r.now.Before(p.stats.expire) || p.pressure.used > 0 {
		return true
	}
	return slices.ContainsFunc(p.topics, func(tp *topicPeer) bool {
		return r.now.Before(tp.backoff) || tp.stats.passed > 0 && r.now.Before(p.stats.expire)
	})
}

func (r *Router) forgetPeer(p *Peer) {
	r.detach(p)
	r.order = slices.DeleteFunc(r.order, func(q *Peer) bool { return q == p })
}

// detach takes a peer out of all books but Router.order.
func (r *Router) detach(p *Peer) {
	for _, tp := range p.topics {
		r.unsubscribe(tp)
	}
	p.gone = true
	delete(r.peers, p.ID)
}

// maxAbsent bounds the peers that are remembered without a stream.
const maxAbsent = 4096

// forgetAbsent lets go of peers that are not connected and whose time is over, and of some
// more if there are too many.
func (r *Router) forgetAbsent() {
	absent := 0
	for _, p := range r.order {
		if !p.in && !p.out {
			absent++
		}
	}
	if absent == 0 {
		return
	}
	r.order = slices.DeleteFunc(r.order, func(p *Peer) bool {
		if p.in || p.out || r.worthKeeping(p) && absent <= maxAbsent {
			return false
		}
		absent--
		r.detach(p)
		return true
	})
}

// control returns what is being said to a peer in this step.
func (r *Router) control(p *Peer) *rpc.Control {
	if p.say == nil {
		p.say = &rpc.Control{}
	}
	if !p.saying {
		p.saying = true
		r.speakers = append(r.speakers, p)
	}
	return p.say
}

// speak turns what was gathered for each peer into one effect: implementations
// count frames with control, so there must be few.
func (r *Router) speak() {
	for _, p := range r.speakers {
		p.saying = false
		if c := p.say; c != nil && p.out && !c.Empty() {
			r.out = append(r.out, Effect{Kind: Say, Peer: p.ID, Control: c})
		}
		p.say = nil
	}
	clear(r.speakers)
	r.speakers = r.speakers[:0]
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
