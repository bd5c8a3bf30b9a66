package router

import (
	"maps"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TopicView is how a topic stands.
type TopicView struct {
	Joined  bool
	Mesh    []peer.ID
	Peers   int // that take part
	Waiting int // own messages that wait for a first peer
	Counts
}

// Topic returns how a topic stands, false if it is not declared.
func (r *Router) Topic(name string) (v TopicView, ok bool) {
	t := r.topics[name]
	if t == nil {
		return v, false
	}
	v = TopicView{Joined: t.joined, Peers: len(t.peers), Waiting: len(t.pending), Counts: t.counts}
	v.Away = maps.Clone(t.counts.Away)
	for _, tp := range t.mesh {
		v.Mesh = append(v.Mesh, tp.p.ID)
	}
	return v, true
}

// PeerView is how a peer stands.
type PeerView struct {
	ID      peer.ID
	Score   float64
	Parts   ScoreParts // of Score
	Passed  float64    // lost in single topics for what it merely passed on, not part of Score
	Mesh    []string   // topics in whose mesh it is
	Topics  []string   // in which it takes part
	In, Out bool
}

// Peers calls f for every peer that has a stream, until f returns false.
func (r *Router) Peers(f func(PeerView) bool) {
	for _, p := range r.order {
		if !p.in && !p.out {
			continue
		}
		v := PeerView{ID: p.ID, In: p.in, Out: p.out}
		v.Score, v.Passed = r.scores(p)
		v.Parts = p.stats.cached
		for _, tp := range p.topics {
			if tp.mesh {
				v.Mesh = append(v.Mesh, tp.t.spec.Name)
			}
			if tp.subscribed {
				v.Topics = append(v.Topics, tp.t.spec.Name)
			}
		}
		if !f(v) {
			return
		}
	}
}

// Scores calls f with the score of every peer that has a stream, and what its part in
// passing messages on counts beside it, as in PeerView. It builds no names: it is for
// who asks each second.
func (r *Router) Scores(f func(p peer.ID, score, passed float64)) {
	for _, p := range r.order {
		if p.in || p.out {
			score, passed := r.scores(p)
			f(p.ID, score, passed)
		}
	}
}

func (r *Router) scores(p *Peer) (score, passed float64) {
	score = r.score(p)
	for _, tp := range p.topics {
		passed += r.scoreIn(tp) - score
	}
	return score, passed
}

// Score returns the score of a peer, 0 for one that is not known.
func (r *Router) Score(id peer.ID) float64 {
	if p := r.peers[id]; p != nil {
		return r.score(p)
	}
	return 0
}

// AllDeferred returns how many messages are deferred, and their bytes.
func (r *Router) AllDeferred() (n, bytes int) { return r.deferrals.total, r.deferrals.bytes }
