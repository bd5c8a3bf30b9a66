package router

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// A peer whose queue is above its mark is full, and so is a topic of which much waits
// to be validated here: whoever brings more for it is to wait, so that nothing has to be
// dropped, and so that the wait goes back to the author of what is too much. But one
// peer that reads slowly, for whatever reason, must not stop a whole mesh, nor one
// subscriber that stands all topics of a node. So both have patience on account: that
// of a peer is used up while it is full though others take the same several times as
// fast, and comes back slowly; that of a topic while it is full, and comes back with
// what it takes. Without any left it is slow. Nobody waits for it then; what its queue
// cannot hold is lost to it, or turned away, and counted.

const (
	// patience is how long one slow peer or topic may delay others; patienceBack is
	// how many seconds give a peer one back.
	patience     = 10 * time.Second
	patienceBack = 10
	// takesBack is what a topic gets back for each message that it takes: it may hold
	// up others for as long as it takes a hundred a second.
	takesBack = 10 * time.Millisecond
	// slowFactor is how many times as fast as a slow peer others are.
	slowFactor = 4
	// fairPart is the part of what a peer was sent that others must have been sent, to
	// be compared with it.
	fairPart = 8
)

// Load is what was written to a peer: bytes, and how long it took to write them.
type Load struct {
	Bytes float64
	Busy  time.Duration
}

// pace is what a peer takes, in bytes a second.
func (l Load) pace() float64 { return l.Bytes / max(l.Busy, time.Microsecond).Seconds() }

// pressure is how a peer or a topic stands that is full, or was.
type pressure struct {
	full, slow bool
	used       time.Duration // of its patience
	since      time.Time     // until then it is accounted for
	load       Load          // recently, of a peer
}

func (s *pressure) use(d time.Duration) { s.used = min(s.used+d, patience) }

func (s *pressure) giveBack(d time.Duration) { s.used = max(s.used-d, 0) }

// setFull notes that a peer's queue is above its mark, or well below it again.
func (r *Router) setFull(p *Peer, on bool) {
	s := &p.pressure
	if s.full == on {
		return
	}
	if on {
		r.usePatience(p)
		s.full = true
		r.fullPeers++
		if s.used > patience-r.cfg.Mesh.Heartbeat {
			r.giveUpOn(p)
		}
		return
	}
	r.usePatience(p)
	if !s.slow {
		r.fullPeers--
	}
	s.full, s.slow = false, false
	r.ease()
}

// usePatience brings a peer's account up to now.
func (r *Router) usePatience(p *Peer) {
	s := &p.pressure
	d := r.now.Sub(s.since)
	s.since = r.now
	switch {
	case s.full && !s.slow && r.othersAreFaster(p):
		s.use(d)
	default:
		s.giveBack(d / patienceBack)
	}
}

// othersAreFaster reports whether most of the peers that are sent about as much as
// this one take it several times as fast.
func (r *Router) othersAreFaster(p *Peer) bool {
	faster, all := 0, 0
	mine := &p.pressure.load
	for _, q := range r.order {
		if l := &q.pressure.load; q != p && q.out && l.Bytes > 0 && l.Bytes >= mine.Bytes/fairPart {
			all++
			if l.pace() > slowFactor*mine.pace() {
				faster++
			}
		}
	}
	return 2*faster > all
}

// addLoad notes what was written to a peer since the last time.
func (r *Router) addLoad(p *Peer, l Load) {
	s := &p.pressure.load
	s.Bytes, s.Busy = s.Bytes/2+l.Bytes, s.Busy/2+l.Busy
}

// watchFull is the part of the heartbeat that concerns full peers.
func (r *Router) watchFull() {
	for _, p := range r.order {
		if s := &p.pressure; s.full || s.used > 0 {
			r.usePatience(p)
			if s.full && !s.slow && s.used >= patience {
				r.giveUpOn(p)
			}
		}
	}
	if r.fullPeers > 0 {
		r.ease() // a full peer may have left a mesh
	}
	for _, t := range r.list {
		if s := &t.pressure; s.full && !s.slow {
			s.use(r.now.Sub(s.since))
			s.since = r.now
			if s.used >= patience {
				s.slow = true
				r.fullTopics--
				r.ease()
			}
		}
	}
}

// weighQueue notes whether much waits to be validated of a topic.
func (r *Router) weighQueue(t *Topic) {
	s, n := &t.pressure, t.queue.waiting
	switch {
	case !s.full && n > 0 && 4*n >= 3*t.spec.Queue:
		s.full, s.since = true, r.now
		if s.used >= patience {
			s.slow = true
			return
		}
		r.fullTopics++
	case s.full && 2*n <= t.spec.Queue:
		if !s.slow {
			r.fullTopics--
		}
		s.full, s.slow = false, false
		r.ease()
	}
}

// TopicFull reports whether so much of a topic waits to be validated that a peer, which
// has brought no less of it than others have, is to bring no more until an Eased
// effect comes.
func (r *Router) TopicFull(topic string, from peer.ID) bool {
	t := r.topics[topic]
	if t == nil || !t.pressure.full || t.pressure.slow {
		return false
	}
	for _, s := range t.queue.senders {
		if s.p.ID == from {
			return s.waiting*len(t.queue.senders) >= t.queue.waiting
		}
	}
	return false
}

// giveUpOn has nobody wait for a full peer any more.
func (r *Router) giveUpOn(p *Peer) {
	p.pressure.slow = true
	r.fullPeers--
	r.out = append(r.out, Effect{Kind: Slow, Peer: p.ID})
	r.ease()
}

// ease has those look again who wait.
func (r *Router) ease() { r.out = append(r.out, Effect{Kind: Eased}) }

// Pressing reports whether Pressed or TopicFull may be true.
func (r *Router) Pressing() bool { return r.fullPeers+r.fullTopics > 0 }

// Pressed reports whether a message of a topic that comes from a peer, or is an own
// one if that is empty, goes to a peer that is full: then it, or the next one, is to
// wait until an Eased effect comes.
func (r *Router) Pressed(topic string, from peer.ID) bool {
	if r.fullPeers == 0 {
		return false
	}
	t := r.topics[topic]
	if t == nil {
		return false
	}
	flood := from == "" && r.cfg.Mesh.FloodPublish
	for _, tp := range t.peers {
		if p := tp.p; p.pressure.full && !p.pressure.slow && p.ID != from && tp.reachable() &&
			(tp.mesh || tp.fanout || p.direct || p.level < Mesh || flood) {
			return true
		}
	}
	return false
}
