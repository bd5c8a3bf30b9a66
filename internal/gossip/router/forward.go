package router

// send sends a message to a peer.
func (r *Router) send(p *Peer, m *Message) {
	r.out = append(r.out, Effect{Kind: Send, Peer: p.ID, Msg: m})
}

// publish takes an own message.
func (r *Router) publish(m *Message) {
	t := r.topics[m.Topic]
	if t == nil {
		r.refusePublish(m, ReasonUnknown)
		return
	}
	e := r.book[m.ID]
	if e != nil && (e.state != retryable || e.topic != t) {
		r.refusePublish(m, ReasonDuplicate)
		return
	}
	if e != nil {
		t.retry.remove(e)
		e.msg, e.from, e.live = m, nil, r.newLive()
	} else {
		e = r.enter(t, m, nil)
	}
	t.lastPublished = r.now
	// Said at once: at the end of the step, behind the message, it would come too late
	// where that is long under way.
	r.refuse(e)
	r.speak()
	to, short := r.forward(e, true)
	switch {
	case to > 0:
		r.decide(e, accepted)
		r.spread(m)
		r.say(e)
		t.counts.Published++
	case short > 0 && (t.spec.PeerWait < 0 || !r.pendingSpace(t, m)):
		r.forget(e)
		r.refusePublish(m, ReasonTooLarge)
	case t.spec.PeerWait < 0:
		r.forget(e)
		r.refusePublish(m, ReasonNoPeers)
	case !r.pendingSpace(t, m):
		r.forget(e)
		r.refusePublish(m, ReasonFull)
	default:
		e.state, e.live.until = pending, r.now.Add(t.spec.PeerWait)
		t.pending = append(t.pending, e)
		t.pendingBytes += len(m.Data)
		t.counts.Published++
		t.counts.Queued++
		r.out = append(r.out, Effect{Kind: Queued, Msg: m})
	}
}

func (r *Router) pendingSpace(t *Topic, m *Message) bool {
	return len(t.pending) < r.cfg.Pending && t.pendingBytes+len(m.Data) <= r.cfg.PendingBytes
}

func (r *Router) refusePublish(m *Message, reason string) {
	r.out = append(r.out, Effect{Kind: Refused, Msg: m, Reason: reason})
}

// withdraw forgets an own message that no peer's queue took: it may be published
// again.
func (r *Router) withdraw(m *Message) {
	if e := r.book[m.ID]; e != nil && (e.msg == m || m.Carried) && e.from == nil && e.state == accepted {
		e.topic.counts.Published--
		r.forget(e)
	}
}

// forward sends a message to everybody who is to have it, and returns how many
// those are, and for how many others it is too large. Nobody is sent what it sent
// itself, does not want, or does not take.
func (r *Router) forward(e *entry, own bool) (n, short int) {
	t := e.topic
	to := func(p *Peer) {
		if _, no := p.refused[e.id]; no && !own || e.sentBy(p) || p.ID == e.msg.Author {
			return
		}
		if !p.takes(e) {
			short++
			return
		}
		n++
		r.send(p, e.msg)
	}
	flood := own && r.cfg.Mesh.FloodPublish
	floodsubs := 0
	for _, tp := range t.peers {
		switch {
		case !tp.reachable():
		case tp.p.direct:
			to(tp.p)
		case tp.p.level < Mesh:
			// They hear of nothing otherwise; and nobody gets more copies out of this
			// node by calling itself old.
			if floodsubs < r.cfg.Mesh.Dhi && r.score(tp.p) >= r.cfg.Score.PublishThreshold {
				floodsubs++
				to(tp.p)
			}
		case flood && !tp.mesh && r.score(tp.p) >= r.cfg.Score.PublishThreshold:
			to(tp.p)
		}
	}
	for _, tp := range t.mesh {
		if tp.reachable() {
			to(tp.p)
		}
	}
	switch {
	case flood:
	case !t.joined:
		if own {
			r.fillFanout(t)
		}
		for _, tp := range t.fanout {
			to(tp.p)
		}
	case own && len(t.mesh) < r.cfg.Mesh.D:
		// The mesh is not whole yet.
		for _, tp := range r.choose(t.peers, r.cfg.Mesh.D-len(t.mesh), func(tp *topicPeer) bool { return !tp.mesh && r.publishable(tp) }) {
			to(tp.p)
		}
	}
	return n, short
}

// flushPending sends what waits for a first peer. What that one does not take waits on,
// and delays nothing behind it.
func (r *Router) flushPending(t *Topic) {
	var left []*entry
	for _, e := range t.pending {
		if to, _ := r.forward(e, true); to == 0 {
			left = append(left, e)
			continue
		}
		t.pendingBytes -= len(e.msg.Data)
		r.decide(e, accepted)
		r.spread(e.msg)
		r.say(e)
	}
	t.pending = left
}

// expirePending gives up own messages that met no peer. They may be published
// again.
func (r *Router) expirePending(t *Topic) {
	for len(t.pending) > 0 && !r.now.Before(t.pending[0].live.until) {
		e := t.pending[0]
		t.pending = t.pending[1:]
		t.pendingBytes -= len(e.msg.Data)
		t.counts.Unsent++
		r.forget(e)
	}
}

// relay passes on a message that was accepted in a topic with ExplicitRelay.
func (r *Router) relay(m *Message) {
	t := r.topics[m.Topic]
	if t == nil {
		r.refusePublish(m, ReasonUnknown)
		return
	}
	e := r.book[m.ID]
	switch {
	case m.relayed:
		r.refusePublish(m, ReasonDuplicate)
		return
	case e == nil: // seen so long ago that it is forgotten
		e = r.enter(t, m, r.peers[m.From])
	case e.state != awaitsRelay || e.topic != t:
		r.refusePublish(m, ReasonDuplicate)
		return
	}
	e.msg, m.relayed = m, true
	r.decide(e, accepted)
	r.refuse(e)
	r.forward(e, false)
	r.spread(m)
	r.say(e)
	t.counts.Relayed++
	if e.from != nil {
		r.creditFirst(e)
	}
}
