package router

import (
	"slices"
	"sort"
	"time"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// greetEvery bounds how often a peer that opens its streams anew is told
// everything.
const greetEvery = 5 * time.Second

// heardControl handles all that a frame says beside messages.
func (r *Router) heardControl(ev Event) {
	p, in := r.peers[ev.Peer], ev.RPC
	if p == nil || !p.in {
		return // its stream has ended
	}
	if len(in.Subs) > 0 {
		r.heardSubs(p, in.Subs)
	}
	if !in.HasControl() || !r.accepts(p) {
		return
	}
	if in.Extensions {
		if p.extended { // they are announced once, and none is used
			p.stats.behaviour += 10
			p.stats.dirty = true
		}
		p.extended = true
	}
	if len(in.Graft) > maxControl || len(in.Prune) > maxControl {
		r.found(p, FaultControl)
		return
	}
	if len(in.Have) > 0 {
		r.heardHave(p, in.Have)
	}
	if len(in.Want) > 0 {
		r.heardWant(p, in.Want)
	}
	for _, name := range in.Graft {
		if t := r.topics[string(name)]; t != nil {
			r.graftFrom(p, t)
		}
	}
	for _, prune := range in.Prune {
		r.pruneFrom(p, prune)
	}
	if len(in.DontWant) > 0 {
		r.heardRefusal(p, in.DontWant)
	}
}

// found notes a fault that the router has found itself.
func (r *Router) found(p *Peer, what string) {
	r.fault(p)
	r.out = append(r.out, Effect{Kind: Faulted, Peer: p.ID, Reason: what})
}

func (r *Router) heardSubs(p *Peer, subs []rpc.Sub) {
	if len(subs) > MaxSubs {
		r.found(p, FaultSubscriptions)
		return
	}
	for _, s := range subs {
		if len(s.Topic) > msgtype.MaxTopic {
			continue
		}
		t := r.topics[string(s.Topic)]
		switch {
		case t != nil && s.Subscribe:
			r.subscribe(p.topicPeer(t))
		case t != nil:
			if tp := p.find(t); tp != nil {
				r.unsubscribe(tp)
			}
		default:
			r.heardUndeclared(p, string(s.Topic), s.Subscribe)
		}
	}
}

// heardUndeclared remembers topics that may be declared here later: a peer says
// what it takes part in only once.
func (r *Router) heardUndeclared(p *Peer, name string, subscribe bool) {
	i := slices.Index(p.heard, name)
	switch {
	case subscribe && i < 0 && len(p.heard) < maxHeard:
		p.heard = append(p.heard, name)
	case !subscribe && i >= 0:
		p.heard = slices.Delete(p.heard, i, i+1)
	}
}

// heardHave asks for what a peer has and this node has not.
func (r *Router) heardHave(p *Peer, haves []rpc.Have) {
	for _, h := range haves {
		p.spent.have += len(h.IDs)
	}
	p.spent.haveFrames++
	switch {
	case p.spent.have > maxHave:
		r.found(p, FaultHave)
		return
	case r.score(p) < r.cfg.Score.GossipThreshold, p.spent.haveFrames > maxHaveFrames:
		return
	}
	var want []string
	asked := make(map[string]struct{})
	for _, h := range haves {
		t := r.topics[string(h.Topic)]
		if t == nil || !t.joined || !t.allows(p) {
			continue
		}
		tp := p.topicPeer(t)
		tp.sameNames = tp.sameNames || slices.ContainsFunc(h.IDs, func(id []byte) bool { return r.book[string(id)] != nil })
		if !tp.named() || r.scoreIn(tp) < r.cfg.Score.GossipThreshold {
			continue
		}
		room := t.space()
		for _, id := range h.IDs {
			if e := r.book[string(id)]; e != nil {
				if e.state != retryable {
					continue
				}
				e.addHolder(p)
				if room <= 0 || !e.askable(r.now) {
					continue
				}
				room--
			}
			if _, twice := asked[string(id)]; !twice {
				asked[string(id)] = struct{}{}
				want = append(want, string(id))
			}
		}
	}
	want = r.limitAsked(p, want)
	if len(want) == 0 {
		return
	}
	for _, id := range want {
		if e := r.book[id]; e != nil {
			e.live.asked = r.now
		}
	}
	r.promise(p, want[r.rng.IntN(len(want))])
	c := r.control(p)
	c.Want = append(c.Want, want...)
}

// limitAsked cuts a request to what may be asked of a peer in one heartbeat, a part
// chosen at random.
func (r *Router) limitAsked(p *Peer, want []string) []string {
	left := maxAsked - p.spent.asked
	if left < len(want) {
		r.rng.Shuffle(len(want), func(i, k int) { want[i], want[k] = want[k], want[i] })
		want = want[:max(left, 0)]
	}
	p.spent.asked += len(want)
	return want
}

// promise is a message that a peer has announced and was asked for.
type promise struct {
	p  *Peer
	id string
	by time.Time
}

const (
	promiseTime = 3 * time.Second
	maxPromises = 1 << 14
)

func (r *Router) promise(p *Peer, id string) {
	if len(r.promises) < maxPromises {
		r.promises = append(r.promises, promise{p, id, r.now.Add(promiseTime)})
	}
}

// breakPromises charges peers for what they announced and did not send. It counts
// as kept if the message came from anybody.
func (r *Router) breakPromises() {
	n := 0
	for n < len(r.promises) && !r.now.Before(r.promises[n].by) {
		q := r.promises[n]
		n++
		if e := r.book[q.id]; e == nil {
			q.p.stats.behaviour++
			q.p.stats.dirty = true
		}
	}
	r.promises = slices.Delete(r.promises, 0, n)
}

// heardWant serves what a peer asks for.
func (r *Router) heardWant(p *Peer, ids [][]byte) {
	if p.spent.want += len(ids); p.spent.want > maxWant {
		r.found(p, FaultWant)
		return
	}
	if r.score(p) < r.cfg.Score.GossipThreshold || !p.out {
		return
	}
	for _, id := range ids {
		e := r.book[string(id)]
		if e == nil || e.msg == nil || e.state != accepted || !e.topic.allows(p) || !p.takes(e) {
			continue
		}
		if _, no := p.refused[string(id)]; no || !e.serve(p, r.cfg.Mesh.Retransmission) {
			continue
		}
		r.send(p, e.msg)
	}
}

// heardRefusal notes what a peer does not want to be sent.
func (r *Router) heardRefusal(p *Peer, ids [][]byte) {
	if p.spent.refusals++; p.spent.refusals > maxRefusals {
		return
	}
	for _, id := range ids[:min(len(ids), maxRefused)] {
		e := r.book[string(id)]
		if e == nil && len(p.refused) >= maxRefusals*maxRefused {
			continue
		}
		if p.refused == nil {
			p.refused = make(map[string]uint64)
		}
		if e != nil {
			p.refused[e.id] = r.ticks + refusedFor
			if e.msg != nil && p.out {
				r.out = append(r.out, Effect{Kind: Cancel, Peer: p.ID, Msg: e.msg})
			}
			continue
		}
		if len(id) <= 64 { // a name that no message here has; longer ones are not kept
			p.refused[string(id)] = r.ticks + refusedFor
		}
	}
}

// refuse tells the mesh that a message has come and need not be sent again.
func (r *Router) refuse(e *entry) {
	if len(e.msg.Data) < r.cfg.Mesh.DontWantAbove || e.msg.Carried {
		return
	}
	for _, tp := range e.topic.mesh {
		if tp.p != e.from && tp.p.level >= Refuse && tp.p.out && tp.named() {
			c := r.control(tp.p)
			c.DontWant = append(c.DontWant, e.id)
		}
	}
}

// gossip tells peers outside of the meshes what this node has.
func (r *Router) gossip() {
	m := &r.cfg.Mesh
	window := r.history[:min(m.HistoryGossip, len(r.history))]
	if !slices.ContainsFunc(window, func(t tickOf) bool { return len(t.kept()) > 0 }) {
		return
	}
	lazy := make(map[*Topic][]*topicPeer)
	for _, t := range r.list {
		var fit []*topicPeer
		for _, tp := range t.peers {
			if !tp.mesh && !tp.fanout && !tp.p.direct && tp.reachable() && tp.named() && tp.p.level >= Mesh &&
				r.score(tp.p) >= r.cfg.Score.GossipThreshold {
				fit = append(fit, tp)
			}
		}
		if len(fit) > 0 {
			lazy[t] = fit
		}
	}
	if len(lazy) == 0 {
		return // all are in the meshes
	}
	ids := make(map[*Topic]*news)
	for i := len(window) - 1; i >= 0; i-- {
		for _, e := range window[i].kept() {
			if e.msg == nil || lazy[e.topic] == nil {
				continue
			}
			n := ids[e.topic]
			if n == nil {
				n = &news{}
				ids[e.topic] = n
			}
			n.ids, n.said = append(n.ids, e.id), append(n.said, e.said)
			if i == m.HistoryGossip-1 {
				n.leaving++
			}
		}
	}
	for _, t := range r.list {
		n, fit := ids[t], lazy[t]
		if n == nil {
			continue
		}
		r.shuffle(fit)
		for _, tp := range fit[:min(max(m.Dlazy, int(m.GossipFactor*float64(len(fit)))), len(fit))] {
			r.sayHave(tp, r.sampleIDs(r.takenBy(tp.p, n.beyond(tp.told))))
			tp.told = r.said
		}
	}
}

// news is what may be announced of a topic, the oldest first.
type news struct {
	ids     []string
	said    []uint64 // their numbers in the history
	leaving int      // of them leave the window now
}

// beyond is what a peer is to be told that was told up to a number of the history: what
// was said later, and once more what is announced for the last time, since the peer may
// have had no space for it. To say all of the window at each heartbeat would say each
// message HistoryGossip times to a peer that is chosen each time.
func (n *news) beyond(told uint64) []string {
	k := sort.Search(len(n.said), func(i int) bool { return n.said[i] > told })
	if k <= n.leaving {
		return n.ids
	}
	return slices.Concat(n.ids[:n.leaving], n.ids[k:])
}

// sampleIDs is a part of ids, chosen at random, that a receiver reads in full.
func (r *Router) sampleIDs(ids []string) []string {
	if len(ids) <= maxAsked {
		return ids
	}
	ids = slices.Clone(ids)
	r.rng.Shuffle(len(ids), func(i, k int) { ids[i], ids[k] = ids[k], ids[i] })
	return ids[:maxAsked]
}

func (r *Router) sayHave(tp *topicPeer, ids []string) {
	if len(ids) == 0 {
		return
	}
	c := r.control(tp.p)
	c.Have = append(c.Have, rpc.HaveIDs{Topic: tp.t.spec.Name, IDs: ids})
}

// dropped notes a message that a peer's queue did not take.
func (r *Router) dropped(ev Event) {
	if t := r.topics[ev.Msg.Topic]; t != nil {
		t.counts.Dropped++
	}
	if p := r.peers[ev.Peer]; p != nil && p.out && len(p.missed) < maxAsked {
		p.missed = append(p.missed, ev.Msg.ID)
	}
}

// tellMissed announces what did not fit into queues, so that it can be asked for.
// Nothing else would tell a peer in the mesh of it.
func (r *Router) tellMissed() {
	for _, p := range r.order {
		if len(p.missed) == 0 {
			continue
		}
		missed := p.missed
		p.missed = nil
		for _, id := range missed {
			e := r.book[id]
			if e == nil || e.msg == nil || e.state != accepted || !p.out || !e.topic.allows(p) || !p.takes(e) || !p.topicPeer(e.topic).named() {
				continue
			}
			c := r.control(p)
			if n := len(c.Have); n > 0 && c.Have[n-1].Topic == e.topic.spec.Name && cap(c.Have[n-1].IDs) > len(c.Have[n-1].IDs) {
				c.Have[n-1].IDs = append(c.Have[n-1].IDs, id)
				continue
			}
			ids := make([]string, 1, len(missed))
			ids[0] = id
			c.Have = append(c.Have, rpc.HaveIDs{Topic: e.topic.spec.Name, IDs: ids})
		}
	}
}

// tell has a peer told what was said in a topic recently: it appeared, or was grafted.
func (r *Router) tell(tp *topicPeer) {
	if !tp.named() || tp.due {
		return
	}
	tp.due = true
	if r.now.Before(tp.p.tellAt) {
		r.wakeBy(tp.p.tellAt)
	} else {
		r.tellPeer(tp.p)
	}
}

// tellAll tells everybody whose time has come.
func (r *Router) tellAll() {
	for _, p := range r.order {
		if slices.ContainsFunc(p.topics, func(tp *topicPeer) bool { return tp.due }) {
			if r.now.Before(p.tellAt) {
				r.wakeBy(p.tellAt)
			} else {
				r.tellPeer(p)
			}
		}
	}
}

// maxTold is how many messages of a topic a peer is told of at most.
const maxTold = 4096

// tellPeer tells a peer what it was not told before. It says nothing again for a
// heartbeat, whatever the peer does.
func (r *Router) tellPeer(p *Peer) {
	if !p.out || r.score(p) < r.cfg.Score.GossipThreshold {
		return
	}
	oldest := r.clock - time.Duration(r.cfg.Mesh.HistoryGossip)*r.cfg.Mesh.Heartbeat
	for _, tp := range p.topics {
		if !tp.due || !tp.subscribed && !tp.mesh {
			continue
		}
		tp.due = false
		ids := r.takenBy(p, r.saidSince(tp.t, oldest, tp.told))
		tp.told = r.said
		if len(ids) > 0 {
			r.sayHave(tp, ids)
			tp.t.counts.Announced += int64(len(ids))
			p.tellAt = r.now.Add(r.cfg.Mesh.Heartbeat)
			p.lastTold = r.now
		}
	}
}

// saidSince returns the newest messages of a topic that were said after number told
// and not before oldest, in the order in which they were said.
func (r *Router) saidSince(t *Topic, oldest time.Duration, told uint64) (ids []string) {
	for k := range min(r.cfg.Mesh.HistoryGossip+1, len(r.history)) {
		said := r.history[k].kept()
		for i := len(said) - 1; i >= 0 && len(ids) < maxTold; i-- {
			if e := said[i]; e.topic == t && e.msg != nil && e.said > told && e.saidAt >= oldest {
				ids = append(ids, e.id)
			}
		}
	}
	slices.Reverse(ids)
	return ids
}
