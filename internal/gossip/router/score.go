package router

import (
	"math"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// peerStats are what a peer has on its account, whatever the topic.
type peerStats struct {
	behaviour float64 // P7
	app       float64 // P5
	faults    float64
	ignored   float64 // messages that were ignored, by ignoredDecay
	useful    float64 // messages that were accepted, by ignoredDecay
	addrs     []string
	topics    float64   // the sum of topicPeer.value
	expire    time.Time // when it is forgotten, of a peer that is not connected

	cached ScoreParts // unless dirty
	dirty  bool
}

// topicStats are what a peer has done in a topic.
type topicStats struct {
	since     time.Time // in the mesh
	inMesh    bool
	active    bool    // P3 counts
	first     float64 // P2
	delivered float64 // P3
	failed    float64 // P3b
	invalid   float64 // P4
	passed    float64 // invalid ones that it merely passed on, see scoreIn
}

func (s *topicStats) grafted(now time.Time) { s.inMesh, s.active, s.since = true, false, now }

func (s *topicStats) pruned(w *TopicScore) {
	if s.inMesh && s.active && s.delivered < w.DeliveryThreshold {
		deficit := w.DeliveryThreshold - s.delivered
		s.failed += deficit * deficit
	}
	s.inMesh = false
}

const (
	// A peer of which more is ignored than ignoredFree messages and twice those that
	// were accepted, recently, loses score: at most so much that it is not published
	// to, since some of it may be no fault of its own.
	ignoredFree   = 64
	ignoredWeight = 0.25
	ignoredMost   = 60
	// ignoredDecay is its factor a second: one half in a minute.
	ignoredDecay = 0.98851
)

// ScoreParts are what a peer's score is the sum of. All but Topics and App are zero
// or less.
type ScoreParts struct {
	Topics     float64 // P1 to P4 of all topics, by their weights and up to TopicCap
	App        float64 // P5
	Colocation float64 // P6
	Behaviour  float64 // P7
	Faults     float64 // violations of the protocol
	Ignored    float64 // messages that were ignored, beyond what is free
}

func (p ScoreParts) sum() float64 {
	return p.Topics + p.App + p.Faults + p.Colocation + p.Behaviour + p.Ignored
}

// score is what all thresholds are compared with.
func (r *Router) score(p *Peer) float64 {
	s := &p.stats
	if s.dirty {
		s.dirty = false
		s.cached = r.scoreParts(p)
	}
	return s.cached.sum()
}

func (r *Router) scoreParts(p *Peer) (parts ScoreParts) {
	s := &p.stats
	c := &r.cfg.Score
	parts.Topics = s.topics
	if c.TopicCap > 0 {
		parts.Topics = min(parts.Topics, c.TopicCap)
	}
	parts.App, parts.Faults, parts.Colocation = s.app, c.FaultWeight*s.faults, r.colocation(p)
	if over := s.behaviour - c.BehaviourFree; over > 0 {
		parts.Behaviour = c.BehaviourWeight * over * over
	}
	if over := s.ignored - ignoredFree - 2*s.useful; over > 0 {
		parts.Ignored = -min(ignoredWeight*over, ignoredMost)
	}
	return parts
}

// rescore brings the part of one topic in its peer's score up to date. To add all of them
// up again for each message would cost the more the more topics there are
// (BenchmarkTopics in package gossip has many).
func (r *Router) rescore(tp *topicPeer) {
	v := tp.t.spec.Score.Weight * tp.stats.value(&tp.t.spec.Score, r.now)
	tp.p.stats.topics += v - tp.value
	tp.value, tp.p.stats.dirty = v, true
}

// rescoreAll does so for all topics of a peer, and leaves no error of rounding.
func (r *Router) rescoreAll(p *Peer) {
	p.stats.topics, p.stats.dirty = 0, true
	for _, tp := range p.topics {
		tp.value = 0
		r.rescore(tp)
	}
}

func (s *topicStats) value(w *TopicScore, now time.Time) (v float64) {
	if s.inMesh {
		v += w.MeshTimeWeight * min(math.Floor(now.Sub(s.since).Seconds()), w.MeshTimeCap)
	}
	v += w.FirstWeight * s.first
	if s.active && s.delivered < w.DeliveryThreshold {
		deficit := w.DeliveryThreshold - s.delivered
		v += w.DeliveryWeight * deficit * deficit
	}
	return v + w.FailureWeight*s.failed + w.InvalidWeight*s.invalid*s.invalid
}

// colocation is what peers lose that share an address with too many others.
func (r *Router) colocation(p *Peer) (v float64) {
	c := &r.cfg.Score
	if c.ColocationWeight == 0 {
		return 0
	}
	for _, a := range p.stats.addrs {
		n := 0
		for _, q := range r.order {
			if slices.Contains(q.stats.addrs, a) {
				n++
			}
		}
		if over := float64(n - c.ColocationFree); over > 0 {
			v += c.ColocationWeight * over * over
		}
	}
	return v
}

func (r *Router) setAddrs(ev Event) {
	p := r.peers[ev.Peer]
	if p == nil || slices.Equal(p.stats.addrs, ev.Names) {
		return
	}
	p.stats.addrs = slices.Clone(ev.Names)
	for _, q := range r.order {
		q.stats.dirty = true
	}
}

// accepts reports whether anything of a peer is heeded.
func (r *Router) accepts(p *Peer) bool {
	return p.direct || r.score(p) >= r.cfg.Score.GraylistThreshold
}

// Accepts reports whether anything that a peer sends is heeded, so that the rest
// need not be decoded.
func (r *Router) Accepts(id peer.ID) bool {
	p := r.peers[id]
	return p == nil || r.accepts(p)
}

func (r *Router) fault(p *Peer) {
	p.stats.faults++
	p.stats.dirty = true
}

// chargeInvalid counts an invalid message against a peer that brought it. The author is empty
// where nobody has signed.
func (r *Router) chargeInvalid(t *Topic, p *Peer, author peer.ID) {
	if p == nil {
		return
	}
	tp := p.topicPeer(t)
	if tp.unvalidated && author != p.ID {
		tp.stats.passed++
		return
	}
	tp.stats.invalid++
	r.rescore(tp)
}

// scoreIn is what a peer counts in one topic: its score, less what it merely passed on
// there. That is P4 in this topic alone. If it were in the score, whoever sends what is
// invalid through a peer that cannot know would silence it in all topics, and have it
// banned.
func (r *Router) scoreIn(tp *topicPeer) float64 {
	w := &tp.t.spec.Score
	return r.score(tp.p) + w.Weight*w.InvalidWeight*tp.stats.passed*tp.stats.passed
}

// heeds reports whether messages of a topic are taken from a peer that is heeded.
func (r *Router) heeds(t *Topic, p *Peer) bool {
	if !p.unvalidated || p.direct { // as most are, who need not be looked up
		return true
	}
	tp := p.find(t)
	return tp == nil || r.scoreIn(tp) >= r.cfg.Score.GraylistThreshold
}

// Heeds reports whether messages of a topic are taken from a peer, whichever way they
// come.
func (r *Router) Heeds(topic string, id peer.ID) bool {
	t, p := r.topics[topic], r.peers[id]
	return t == nil || p == nil || r.accepts(p) && r.heeds(t, p)
}

// creditFirst rewards the peer that brought a message first.
func (r *Router) creditFirst(e *entry) {
	tp := e.from.topicPeer(e.topic)
	tp.stats.first = min(tp.stats.first+1, e.topic.spec.Score.FirstCap)
	tp.p.stats.useful++
	tp.stats.deliver(&e.topic.spec.Score)
	r.rescore(tp)
}

// creditMesh counts a message that a mesh peer brought.
func (r *Router) creditMesh(t *Topic, p *Peer) {
	if tp := p.find(t); tp != nil && tp.stats.inMesh {
		tp.stats.deliver(&t.spec.Score)
		r.rescore(tp)
	}
}

// deliver counts a message, if the peer is in the mesh.
func (s *topicStats) deliver(w *TopicScore) {
	if s.inMesh {
		s.delivered = min(s.delivered+1, w.DeliveryCap)
	}
}

func (r *Router) noteIgnored(p *Peer) {
	p.stats.ignored++
	p.stats.dirty = true
}

// decayToZero is below what a counter is zero.
const decayToZero = 0.01

func fade(v *float64, factor float64) {
	if *v *= factor; *v < decayToZero {
		*v = 0
	}
}

// decay ages all counters by the whole seconds that have passed.
func (r *Router) decay() {
	seconds := int(r.now.Sub(r.decayed) / time.Second)
	if seconds > 0 {
		r.decayed = r.decayed.Add(time.Duration(seconds) * time.Second)
	}
	for _, p := range r.order {
		s := &p.stats
		for range min(seconds, 3600) {
			fade(&s.faults, r.cfg.Score.FaultDecay)
			if !p.in && !p.out {
				continue // a bad score is kept as it is while the peer is not connected
			}
			fade(&s.behaviour, r.cfg.Score.BehaviourDecay)
			fade(&s.ignored, ignoredDecay)
			fade(&s.useful, ignoredDecay)
			for _, tp := range p.topics {
				tp.stats.fade(&tp.t.spec.Score)
			}
		}
		for _, tp := range p.topics {
			w := &tp.t.spec.Score
			if t := &tp.stats; t.inMesh && w.DeliveryWeight != 0 && r.now.Sub(t.since) > w.DeliveryGrace {
				t.active = true
			}
		}
		r.rescoreAll(p)
	}
}

func (s *topicStats) fade(w *TopicScore) {
	fade(&s.first, w.FirstDecay)
	fade(&s.delivered, w.DeliveryDecay)
	fade(&s.failed, w.FailureDecay)
	fade(&s.invalid, w.InvalidDecay)
	fade(&s.passed, w.InvalidDecay)
}
