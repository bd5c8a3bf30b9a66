package router

import (
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// subscribe notes that a peer takes part in a topic.
func (r *Router) subscribe(l *link) {
	if l.subscribed {
		return
	}
	l.subscribed = true
	l.t.links = append(l.t.links, l)
	if l.p.out {
		r.tell(l)
		r.flushPending(l.t)
	}
}

// unsubscribe notes that a peer takes no part any more.
func (r *Router) unsubscribe(l *link) {
	if !l.subscribed {
		return
	}
	l.subscribed, l.due = false, false
	l.t.links = remove(l.t.links, l)
	r.prune(l)
	l.leaveFanout()
}

func remove(ls []*link, l *link) []*link {
	if i := slices.Index(ls, l); i >= 0 {
		return slices.Delete(ls, i, i+1)
	}
	return ls
}

func (l *link) leaveFanout() {
	if l.fanout {
		l.fanout = false
		l.t.fanout = remove(l.t.fanout, l)
	}
}

// announce tells a peer whether this node takes part in a topic.
func (r *Router) announce(l *link, joined bool) {
	if l.announced == joined || !l.reachable() {
		return
	}
	l.announced = joined
	c := r.control(l.p)
	c.Subs = append(c.Subs, rpc.Announce{Topic: l.t.spec.Name, Subscribe: joined})
}

func (r *Router) join(name string) {
	t := r.topics[name]
	if t == nil || t.joined {
		return
	}
	t.joined = true
	for _, p := range r.order {
		if p.out {
			r.announce(p.link(t), true)
		}
	}
	for _, l := range slices.Clone(t.fanout) {
		l.leaveFanout()
		if r.graftable(l) && len(t.mesh) < r.cfg.Mesh.D {
			r.graft(l)
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
		if l := p.find(t); l != nil {
			r.announce(l, false)
		}
	}
	for _, l := range slices.Clone(t.mesh) {
		r.prune(l)
		r.sayPrune(l, r.cfg.Mesh.UnsubscribeBackoff, false)
	}
}

// graftable reports whether this node may graft a peer of its own accord.
func (r *Router) graftable(l *link) bool {
	// Two heartbeats beyond the back-off: the other side's clock may be behind, and
	// it would charge us for a graft that is early.
	return l.subscribed && !l.mesh && l.reachable() && l.p.level >= Mesh && !l.p.direct &&
		!r.now.Before(l.backoff.Add(2*r.cfg.Mesh.Heartbeat)) && r.standingIn(l) >= 0
}

// graftRandom grafts up to n peers for which ok is true.
func (r *Router) graftRandom(t *Topic, n int, ok func(*link) bool) {
	for _, l := range r.choose(t.links, n, ok) {
		r.graft(l)
	}
}

// choose picks up to n links at random.
func (r *Router) choose(from []*link, n int, ok func(*link) bool) []*link {
	if n <= 0 {
		return nil
	}
	var fit []*link
	for _, l := range from {
		if ok(l) {
			fit = append(fit, l)
		}
	}
	r.shuffle(fit)
	return fit[:min(n, len(fit))]
}

func (r *Router) shuffle(ls []*link) {
	r.rng.Shuffle(len(ls), func(i, k int) { ls[i], ls[k] = ls[k], ls[i] })
}

// graft takes a peer into the mesh and tells it.
func (r *Router) graft(l *link) {
	r.admit(l)
	c := r.control(l.p)
	c.Graft = append(c.Graft, l.t.spec.Name)
}

// admit takes a peer into the mesh.
func (r *Router) admit(l *link) {
	l.mesh = true
	l.t.mesh = append(l.t.mesh, l)
	l.stats.grafted(r.now)
	r.rescore(l)
	r.tell(l)
	r.flushPending(l.t)
}

// prune takes a peer out of the mesh, if it is in it.
func (r *Router) prune(l *link) {
	if !l.mesh {
		return
	}
	l.mesh = false
	l.t.mesh = remove(l.t.mesh, l)
	l.stats.pruned(&l.t.spec.Score)
	r.rescore(l)
}

// sayPrune tells a peer that it is not in the mesh, and that it may not graft for a
// while; neither may this node.
func (r *Router) sayPrune(l *link, backoff time.Duration, exchange bool) {
	r.backOff(l, backoff)
	if !l.p.out {
		return
	}
	out := rpc.PruneOut{Topic: l.t.spec.Name}
	if l.p.level >= Exchange {
		out.Backoff = uint64(backoff / time.Second)
		if exchange && r.cfg.Exchange {
			for _, o := range r.choose(l.t.links, rpc.MaxPrunePeers, func(o *link) bool {
				return o.p != l.p && r.score(o.p) >= 0
			}) {
				out.Peers = append(out.Peers, rpc.PeerOut{ID: string(o.p.ID)})
			}
		}
	}
	c := r.control(l.p)
	c.Prune = append(c.Prune, out)
}

// backOff never shortens a back-off.
func (r *Router) backOff(l *link, d time.Duration) {
	l.backoff = later(l.backoff, r.now.Add(d))
}

// graftFrom handles a graft of a peer.
func (r *Router) graftFrom(p *Peer, t *Topic) {
	if !t.joined || !t.allows(p) {
		return // no answer: it might be used to learn what this node takes part in
	}
	l := p.link(t)
	backoff := r.cfg.Mesh.PruneBackoff
	switch {
	case l.mesh:
	case !p.out:
		// It counts when there is a stream to it. Until then it could not be sent
		// anything, and would take a place.
		l.early = true
	case p.direct:
		r.sayPrune(l, backoff, false)
	case r.now.Before(l.backoff):
		p.stats.behaviour++
		if graftFlood := l.backoff.Add(10*time.Second - backoff); r.now.Before(graftFlood) {
			p.stats.behaviour++ // right after it was pruned
		}
		p.stats.dirty = true
		r.sayPrune(l, backoff, false)
	case r.standingIn(l) < 0:
		r.sayPrune(l, backoff, false)
	case len(t.mesh) >= r.cfg.Mesh.Dhi && !p.dialled:
		r.sayPrune(l, backoff, true)
	default:
		r.admit(l)
	}
}

// pruneFrom handles a prune of a peer.
func (r *Router) pruneFrom(p *Peer, in rpc.Prune) {
	t := r.topics[string(in.Topic)]
	if t == nil || !t.joined {
		return
	}
	l := p.link(t)
	l.early = false
	was := l.mesh
	r.prune(l)
	backoff := r.cfg.Mesh.PruneBackoff
	if in.Backoff > 0 {
		// In this order: the product may not overflow.
		backoff = time.Duration(min(in.Backoff, uint64(r.cfg.Mesh.MaxBackoff/time.Second))) * time.Second
	}
	r.backOff(l, backoff)
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
	for _, l := range slices.Clone(t.mesh) {
		if r.standingIn(l) < 0 {
			r.drop(l, false)
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
		for _, l := range t.mesh {
			if l.p.dialled {
				dialled++
			}
		}
		r.graftRandom(t, m.Dout-dialled, func(l *link) bool { return l.p.dialled && r.graftable(l) })
	}
	if m.OpportunisticTicks > 0 && r.ticks%uint64(m.OpportunisticTicks) == 0 && len(t.mesh) > 1 {
		r.graftBetter(t)
	}
}

func (r *Router) drop(l *link, exchange bool) {
	r.prune(l)
	r.sayPrune(l, r.cfg.Mesh.PruneBackoff, exchange)
}

// shrink prunes a mesh that is too large to D: the best stay, and some at random,
// and enough of those that this node dialled.
func (r *Router) shrink(t *Topic) {
	m := &r.cfg.Mesh
	all := slices.Clone(t.mesh)
	r.shuffle(all)
	slices.SortStableFunc(all, func(a, b *link) int {
		switch sa, sb := r.standingIn(a), r.standingIn(b); {
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
	for _, l := range all[:keep] {
		if l.p.dialled {
			dialled++
		}
	}
	// Dialled ones from behind take the places of those that were kept by chance.
	for at := keep - 1; dialled < m.Dout && at >= min(m.Dscore, keep); at-- {
		if all[at].p.dialled {
			continue
		}
		i := slices.IndexFunc(all[keep:], func(l *link) bool { return l.p.dialled })
		if i < 0 {
			break
		}
		all[at], all[keep+i] = all[keep+i], all[at]
		dialled++
	}
	for _, l := range all[keep:] {
		r.drop(l, true)
	}
}

// graftBetter grafts peers that are better than the median of a mesh that is bad.
func (r *Router) graftBetter(t *Topic) {
	scores := make([]float64, len(t.mesh))
	for i, l := range t.mesh {
		scores[i] = r.score(l.p)
	}
	slices.Sort(scores)
	median := scores[len(scores)/2]
	if median >= r.cfg.Score.OpportunisticThreshold {
		return
	}
	r.graftRandom(t, r.cfg.Mesh.OpportunisticPeers, func(l *link) bool {
		return r.graftable(l) && r.score(l.p) > median
	})
}

// maintainFanout keeps the peers to which a topic is published that this node has
// not joined.
func (r *Router) maintainFanout(t *Topic) {
	if len(t.fanout) == 0 {
		return
	}
	expired := t.joined || r.now.Sub(t.lastPublished) > r.cfg.Mesh.FanoutTTL
	for _, l := range slices.Clone(t.fanout) {
		if expired || !r.publishable(l) {
			l.leaveFanout()
		}
	}
	if !expired {
		r.fillFanout(t)
	}
}

func (r *Router) publishable(l *link) bool {
	return l.subscribed && l.reachable() && l.p.level >= Mesh && !l.p.direct &&
		r.score(l.p) >= r.cfg.Score.PublishThreshold
}

func (r *Router) fillFanout(t *Topic) {
	for _, l := range r.choose(t.links, r.cfg.Mesh.D-len(t.fanout), func(l *link) bool {
		return !l.fanout && r.publishable(l)
	}) {
		l.fanout = true
		t.fanout = append(t.fanout, l)
	}
}
