package router

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// Peer is what the router knows of a peer.
type Peer struct {
	ID       peer.ID
	in, out  bool // streams
	level    Level
	dialled  bool // by this node
	member   bool
	direct   bool
	unjudged bool // has been so in some topic
	gone     bool // no longer in the book
	extended bool // has announced extensions

	links  []*link
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

// link is a peer in a topic.
type link struct {
	p *Peer
	t *Topic

	subscribed bool // the peer takes part
	announced  bool // the peer was told that this node takes part
	mesh       bool
	fanout     bool
	early      bool // it grafted before there was a stream to it
	sameNames  bool // it has announced a message by the name that it has here
	unjudged   bool // it passes on what it has not judged by the rules of this node
	backoff    time.Time

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

// link finds or makes the link of a peer to a topic.
func (p *Peer) link(t *Topic) *link {
	if l := p.find(t); l != nil {
		return l
	}
	l := &link{p: p, t: t}
	p.links = append(p.links, l)
	return l
}

func (p *Peer) find(t *Topic) *link {
	for _, l := range p.links {
		if l.t == t {
			return l
		}
	}
	return nil
}

// allows reports whether a peer takes part in a topic.
func (t *Topic) allows(p *Peer) bool { return t.spec.Open || p.member }

// named reports whether the peer knows messages by the names that they have here.
// Members do; others may have names of their own. They are neither told of messages
// by name nor asked for them: whoever asks for what it has already, under another
// name, holds it against the peer that announced it.
func (l *link) named() bool { return l.p.member || l.sameNames }

// reachable reports whether there is a stream to the peer on which a topic may be
// spoken of.
func (l *link) reachable() bool { return l.p.out && l.t.allows(l.p) }

func (r *Router) opened(ev Event) {
	p := r.peer(ev.Peer)
	p.out, p.level, p.dialled = true, ev.Level, ev.On
	p.extended = false
	for _, t := range r.list {
		if t.joined {
			r.announce(p.link(t), true)
		}
	}
	for _, l := range p.links {
		if l.early {
			l.early = false
			r.graftFrom(p, l.t)
		}
		if l.subscribed {
			r.tell(l)
			r.flushPending(l.t)
		}
	}
}

func (r *Router) closed(ev Event) {
	p := r.peers[ev.Peer]
	if p == nil {
		return
	}
	p.out, p.say = false, nil
	for _, l := range p.links {
		r.prune(l)
		l.leaveFanout()
		l.announced, l.due, l.early = false, false, false
		l.told = 0
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
	for _, l := range p.links {
		r.unsubscribe(l)
		l.early = false
	}
	r.release(p)
}

// standing changes what a peer may take part in.
func (r *Router) standing(ev Event) {
	p := r.peer(ev.Peer)
	if p.member == ev.On {
		return
	}
	p.member = ev.On
	for _, t := range r.list {
		l := p.find(t)
		switch {
		case t.spec.Open:
		case ev.On:
			if t.joined && p.out {
				r.announce(p.link(t), true)
			}
			if l != nil && l.subscribed {
				r.tell(l)
				r.flushPending(t)
			}
		case l != nil:
			r.prune(l)
			l.leaveFanout()
			l.due = false
		}
	}
}

// setBound notes what a peer takes. It is never sent more, nor told of it: it could
// not tell that from a message that breaks the rules, and would hold it against this
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

// setUnjudged notes whether a peer judges what it passes on.
func (r *Router) setUnjudged(ev Event) {
	if t := r.topics[ev.Topic]; t != nil {
		p := r.peer(ev.Peer)
		p.link(t).unjudged = ev.On
		p.unjudged = p.unjudged || ev.On
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
		for _, l := range p.links {
			if l.mesh {
				r.prune(l)
				r.sayPrune(l, r.cfg.Mesh.PruneBackoff, false)
			}
			if l.subscribed {
				r.flushPending(l.t)
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
	for _, l := range p.links {
		l.stats.first, l.unjudged = 0, false
	}
	r.rescoreAll(p)
	p.stats.expire = r.now.Add(r.cfg.Score.Retain)
	if !r.worthKeeping(p) {
		r.forgetPeer(p)
	}
}

// worthKeeping reports whether a peer that is away has something on its account: a
// bad score, patience that was used up, or a back-off that still runs.
func (r *Router) worthKeeping(p *Peer) bool {
	if r.score(p) < 0 && r.now.Before(p.stats.expire) || p.pressure.used > 0 {
		return true
	}
	return slices.ContainsFunc(p.links, func(l *link) bool {
		return r.now.Before(l.backoff) || l.stats.passed > 0 && r.now.Before(p.stats.expire)
	})
}

func (r *Router) forgetPeer(p *Peer) {
	r.detach(p)
	r.order = slices.DeleteFunc(r.order, func(q *Peer) bool { return q == p })
}

// detach takes a peer out of all books but Router.order.
func (r *Router) detach(p *Peer) {
	for _, l := range p.links {
		r.unsubscribe(l)
	}
	p.gone = true
	delete(r.peers, p.ID)
}

// maxAbsent bounds the peers that are remembered without a stream.
const maxAbsent = 4096

// forgetAbsent lets go of peers that are away and whose time is over, and of some
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
