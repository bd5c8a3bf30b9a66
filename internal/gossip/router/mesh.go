package router

import (
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// subscribe notes that a peer takes part in a topic.
func (r *Router) subscribe(tp *topicPeer) {
	if tp.subscribed {
		return
	}
	tp.subscribed = true
	tp.t.peers = append(tp.t.peers, tp)
	if tp.p.out {
		r.tell(tp)
		r.flushPending(tp.t)
	}
}

// unsubscribe notes that a peer takes no part any more.
func (r *Router) unsubscribe(tp *topicPeer) {
	if !tp.subscribed {
		return
	}
	tp.subscribed, tp.due = false, false
	tp.t.peers = remove(tp.t.peers, tp)
	r.prune(tp)
	tp.leaveFanout()
}

func remove(tps []*topicPeer, tp *topicPeer) []*topicPeer {
	if i := slices.Index(tps, tp); i >= 0 {
		return slices.Delete(tps, i, i+1)
	}
	return tps
}

func (tp *topicPeer) leaveFanout() {
	if tp.fanout {
		tp.fanout = false
		tp.t.fanout = remove(tp.t.fanout, tp)
	}
}

// announce tells a peer whether this node takes part in a topic.
func (r *Router) announce(tp *topicPeer, joined bool) {
	if tp.announced == joined || !tp.reachable() {
		return
	}
	tp.announced = joined
	c := r.control(tp.p)
	c.Subs = append(c.Subs, rpc.Announce{Topic: tp.t.spec.Name, Subscribe: joined})
}

func (r *Router) join(name string) {
	t := r.topics[name]
	if t == nil || t.joined {
		return
	}
	t.joined = true
	for _, p := range r.order {
		if p.out {
			r.announce(p.topicPeer(t), true)
		}
	}
	for _, tp := range slices.Clone(t.fanout) {
		tp.leaveFanout()
		if r.graftable(tp) && len(t.mesh) < r.cfg.Mesh.D {
			r.graft(tp)
		}
	}
	r.graftRandom(t, r.cfg.Mesh.D-len(t.mesh), r.graftable)
}

func (r *Router) leave(name string) {
	t := r.topics[name]
	if t == nil || !t.joined {
		return
	}
	t.joined = false
	for _, p := range r.order {
		if tp := p.find(t); tp != nil {
			r.announce(tp, false)
		}
	}
	for _, tp := range slices.Clone(t.mesh) {
		r.prune(tp)
		r.sayPrune(tp, r.cfg.Mesh.UnsubscribeBackoff, false)
	}
}

// graftable reports whether this node may graft a peer of its own accord.
func (r *Router) graftable(tp *topicPeer) bool {
	// Two heartbeats beyond the back-off: the other side's clock may be behind, and
	// it would charge us for a graft that is early.
	return tp.subscribed && !tp.mesh && tp.reachable() && tp.p.level >= Mesh && !tp.p.direct &&
		!r.now.Before(tp.backoff.Add(2*r.cfg.Mesh.Heartbeat)) && r.scoreIn(tp) >= 0
}

// graftRandom grafts up to n peers for which ok is true.
func (r *Router) graftRandom(t *Topic, n int, ok func(*topicPeer) bool) {
	for _, tp := range r.choose(t.peers, n, ok) {
		r.graft(tp)
	}
}

// choose picks up to n peers of a topic at random.
func (r *Router) choose(from []*topicPeer, n int, ok func(*topicPeer) bool) []*topicPeer {
	if n <= 0 {
		return nil
	}
	var fit []*topicPeer
	for _, tp := range from {
		if ok(tp) {
			fit = append(fit, tp)
		}
	}
	r.shuffle(fit)
	return fit[:min(n, len(fit))]
}

func (r *Router) shuffle(tps []*topicPeer) {
	r.rng.Shuffle(len(tps), func(i, k int) { tps[i], tps[k] = tps[k], tps[i] })
}

// graft takes a peer into the mesh and tells it.
func (r *Router) graft(tp *topicPeer) {
	r.admit(tp)
	c := r.control(tp.p)
	c.Graft = append(c.Graft, tp.t.spec.Name)
}

// admit takes a peer into the mesh.
func (r *Router) admit(tp *topicPeer) {
	tp.mesh = true
	tp.t.mesh = append(tp.t.mesh, tp)
	tp.stats.grafted(r.now)
	r.rescore(tp)
	r.tell(tp)
	r.flushPending(tp.t)
}

// prune takes a peer out of the mesh, if it is in it.
func (r *Router) prune(tp *topicPeer) {
	if !tp.mesh {
		return
	}
	tp.mesh = false
	tp.t.mesh = remove(tp.t.mesh, tp)
	tp.stats.pruned(&tp.t.spec.Score)
	r.rescore(tp)
}

// sayPrune tells a peer that it is not in the mesh, and that it may not graft for a
// while; neither may this node.
func (r *Router) sayPrune(tp *topicPeer, backoff time.Duration, exchange bool) {
	r.backOff(tp, backoff)
	if !tp.p.out {
		return
	}
	out := rpc.PruneOut{Topic: tp.t.spec.Name}
	if tp.p.level >= Exchange {
		out.Backoff = uint64(backoff / time.Second)
		if exchange && r.cfg.Exchange {
			for _, o := range r.choose(tp.t.peers, rpc.MaxPrunePeers, func(o *topicPeer) bool {
				return o.p != tp.p && r.score(o.p) >= 0
			}) {
				out.Peers = append(out.Peers, rpc.PeerOut{ID: string(o.p.ID)})
			}
		}
	}
	c := r.control(tp.p)
	c.Prune = append(c.Prune, out)
}

// backOff never shortens a back-off.
func (r *Router) backOff(tp *topicPeer, d time.Duration) {
	tp.backoff = later(tp.backoff, r.now.Add(d))
}

// graftFrom handles a graft of a peer.
func (r *Router) graftFrom(p *Peer, t *Topic) {
	if !t.joined || !t.allows(p) {
		return // no answer: it might be used to learn what this node takes part in
	}
	tp := p.topicPeer(t)
	backoff := r.cfg.Mesh.PruneBackoff
	switch {
	case tp.mesh:
	case !p.out:
		// It counts when there is a stream to it. Until then it could not be sent
		// anything, and would take a place.
		tp.early = true
	case p.direct:
		r.sayPrune(tp, backoff, false)
	case r.now.Before(tp.backoff):
		p.stats.behaviour++
		if graftFlood := tp.backoff.Add(10*time.Second - backoff); r.now.Before(graftFlood) {
			p.stats.behaviour++ // right after it was pruned
		}
		p.stats.dirty = true
		r.sayPrune(tp, backoff, false)
	case r.scoreIn(tp) < 0:
		r.sayPrune(tp, backoff, false)
	case len(t.mesh) >= r.cfg.Mesh.Dhi && !p.dialled:
		r.sayPrune(tp, backoff, true)
	default:
		r.admit(tp)
	}
}

// pruneFrom handles a prune of a peer.
func (r *Router) pruneFrom(p *Peer, in rpc.Prune) {
	t := r.topics[string(in.Topic)]
	if t == nil || !t.joined {
		return
	}
	tp := p.topicPeer(t)
	tp.early = false
	was := tp.mesh
	r.prune(tp)
	backoff := r.cfg.Mesh.PruneBackoff
	if in.Backoff > 0 {
		// In this order: the product may not overflow.
		backoff = time.Duration(min(in.Backoff, uint64(r.cfg.Mesh.MaxBackoff/time.Second))) * time.Second
	}
	r.backOff(tp, backoff)
	// Of one that was in no mesh nothing is taken: it could go on without end.
	if !was || !p.member || r.score(p) < r.cfg.Score.AcceptExchange {
		return
	}
	e := Effect{Kind: Connect, Peer: p.ID}
	for _, q := range in.Peers {
		if len(q.Record) > 0 { // an ID alone could be anybody's
			e.Peers = append(e.Peers, rpc.PeerOut{ID: string(q.ID), Record: slices.Clone(q.Record)})
		}
	}
	if len(e.Peers) > 0 {
		r.out = append(r.out, e)
	}
}

// maintainMesh is the part of the heartbeat that concerns one topic's mesh.
func (r *Router) maintainMesh(t *Topic) {
	if !t.joined {
		return
	}
	m := &r.cfg.Mesh
	for _, tp := range slices.Clone(t.mesh) {
		if r.scoreIn(tp) < 0 {
			r.drop(tp, false)
		}
	}
	if len(t.mesh) < m.Dlo {
		r.graftRandom(t, m.D-len(t.mesh), r.graftable)
	}
	if len(t.mesh) >= m.Dhi {
		r.shrink(t)
	}
	if len(t.mesh) >= m.Dlo {
		dialled := 0
		for _, tp := range t.mesh {
			if tp.p.dialled {
				dialled++
			}
		}
		r.graftRandom(t, m.Dout-dialled, func(tp *topicPeer) bool { return tp.p.dialled && r.graftable(tp) })
	}
	if m.OpportunisticTicks > 0 && r.ticks%uint64(m.OpportunisticTicks) == 0 && len(t.mesh) > 1 {
		r.graftBetter(t)
	}
}

func (r *Router) drop(tp *topicPeer, exchange bool) {
	r.prune(tp)
	r.sayPrune(tp, r.cfg.Mesh.PruneBackoff, exchange)
}

// shrink prunes a mesh that is too large to D: the best stay, and some at random,
// and enough of those that this node dialled.
func (r *Router) shrink(t *Topic) {
	m := &r.cfg.Mesh
	all := slices.Clone(t.mesh)
	r.shuffle(all)
	slices.SortStableFunc(all, func(a, b *topicPeer) int {
		switch sa, sb := r.scoreIn(a), r.scoreIn(b); {
		case sa > sb:
			return -1
		case sa < sb:
			return 1
		}
		return 0
	})
	r.shuffle(all[min(m.Dscore, len(all)):])
	keep := min(m.D, len(all))
	dialled := 0
	for _, tp := range all[:keep] {
		if tp.p.dialled {
			dialled++
		}
	}
	// Dialled ones from behind take the places of those that were kept by chance.
	for at := keep - 1; dialled < m.Dout && at >= min(m.Dscore, keep); at-- {
		if all[at].p.dialled {
			continue
		}
		i := slices.IndexFunc(all[keep:], func(tp *topicPeer) bool { return tp.p.dialled })
		if i < 0 {
			break
		}
		all[at], all[keep+i] = all[keep+i], all[at]
		dialled++
	}
	for _, tp := range all[keep:] {
		r.drop(tp, true)
	}
}

// graftBetter grafts peers that are better than the median of a mesh that is bad.
func (r *Router) graftBetter(t *Topic) {
	scores := make([]float64, len(t.mesh))
	for i, tp := range t.mesh {
		scores[i] = r.score(tp.p)
	}
	slices.Sort(scores)
	median := scores[len(scores)/2]
	if median >= r.cfg.Score.OpportunisticThreshold {
		return
	}
	r.graftRandom(t, r.cfg.Mesh.OpportunisticPeers, func(tp *topicPeer) bool {
		return r.graftable(tp) && r.score(tp.p) > median
	})
}

// maintainFanout keeps the peers to which a topic is published that this node has
// not joined.
func (r *Router) maintainFanout(t *Topic) {
	if len(t.fanout) == 0 {
		return
	}
	expired := t.joined || r.now.Sub(t.lastPublished) > r.cfg.Mesh.FanoutTTL
	for _, tp := range slices.Clone(t.fanout) {
		if expired || !r.publishable(tp) {
			tp.leaveFanout()
		}
	}
	if !expired {
		r.fillFanout(t)
	}
}

func (r *Router) publishable(tp *topicPeer) bool {
	return tp.subscribed && tp.reachable() && tp.p.level >= Mesh && !tp.p.direct &&
		r.score(tp.p) >= r.cfg.Score.PublishThreshold
}

func (r *Router) fillFanout(t *Topic) {
	for _, tp := range r.choose(t.peers, r.cfg.Mesh.D-len(t.fanout), func(tp *topicPeer) bool {
		return !tp.fanout && r.publishable(tp)
	}) {
		tp.fanout = true
		t.fanout = append(t.fanout, tp)
	}
}
