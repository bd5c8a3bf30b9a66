package router

import "slices"

// received takes a message of a peer that the caller did not know to be a copy.
func (r *Router) received(m *Message) {
	t := r.topics[m.Topic]
	p := r.peer(m.From)
	// A carried message came from several peers, of which one is named. That it has left
	// meanwhile, or has a bad score, must not cost this node the message.
	if t == nil || !t.joined || !m.Carried && !r.accepts(p) {
		r.ended(m, Ignore)
		return
	}
	if !m.Carried && !t.allows(p) {
		t.counts.Rejected++
		return
	}
	e := r.book[m.ID]
	switch {
	case e == nil && !m.Carried && !r.heeds(t, p):
		t.counts.Ignored++
		r.noteIgnored(p)
		r.ended(m, Ignore)
		return
	case e == nil:
		e = r.enter(t, m, p)
		r.refuse(e)
	case e.topic != t: // its author has used a name twice
		t.counts.Duplicates++
		r.ended(m, Ignore)
		return
	case e.state == retryable:
		t.retry.remove(e)
		e.msg, e.from = m, p
		e.live.since, e.live.retaken = r.now, true
		t.counts.Retaken++
	default:
		r.copyFrom(e, p)
		r.ended(m, Ignore)
		return
	}
	r.admitCheck(e)
}

// copied takes the ID of a message that is known.
func (r *Router) copied(ev Event) {
	t := r.topics[ev.Topic]
	p := r.peer(ev.Peer)
	if t == nil || !t.joined || !r.accepts(p) {
		return
	}
	if !t.allows(p) {
		t.counts.Rejected++
		return
	}
	e := r.book[string(ev.ID)]
	if e == nil || e.topic != t { // forgotten just now, or an own one of before a restart
		t.counts.Duplicates++
		return
	}
	r.copyFrom(e, p)
}

// copyFrom notes a further copy of a message that is known.
func (r *Router) copyFrom(e *entry, p *Peer) {
	t := e.topic
	t.counts.Duplicates++
	if e.state == rejected {
		r.chargeInvalid(t, p, "")
		return
	}
	if e.from == p || slices.Contains(e.copies, p) {
		return
	}
	switch e.state {
	case waiting, validating, deferred:
		if e.live != nil {
			e.addCopy(p)
		}
	case accepted, awaitsRelay:
		if e.msg == nil {
			return
		}
		e.addCopy(p)
		if r.clock-e.saidAt <= t.spec.Score.DeliveryWindow {
			r.creditMesh(t, p)
		}
		if p.out {
			r.out = append(r.out, Effect{Kind: Cancel, Peer: p.ID, Msg: e.msg})
		}
	}
}

// forged charges a peer for a message that breaks the rules and has no name.
func (r *Router) forged(ev Event) {
	t := r.topics[ev.Topic]
	p := r.peer(ev.Peer)
	if t == nil || !t.joined || !r.accepts(p) {
		return
	}
	t.counts.Rejected++
	if t.allows(p) {
		r.chargeInvalid(t, p, p.ID)
	}
}

// validated takes the verdict on a message.
func (r *Router) validated(ev Event) {
	e := ev.Msg.entry
	ev.Msg.entry = nil // whoever keeps the message must not keep the book
	if e == nil || e.state != validating || e.msg != ev.Msg {
		return // its topic was retracted meanwhile
	}
	r.freeSlot(e)
	t := e.topic
	if ev.Verdict.Action != TurnAway && ev.Verdict.Action != Wait {
		t.pressure.giveBack(takesBack)
	}
	switch ev.Verdict.Action {
	case Accept:
		t.counts.Delivered++
		r.accept(e)
	case Reject:
		t.counts.Rejected++
		if !e.msg.Blameless {
			r.chargeInvalid(t, e.from, e.msg.Author)
		}
		for _, p := range e.copies {
			r.chargeInvalid(t, p, e.msg.Author)
		}
		r.ended(e.msg, Reject)
		r.close(e, rejected)
	case Defer:
		r.deferUntilResumed(e, ev.Verdict.Key)
	case TurnAway:
		r.turnAway(e, ev.Verdict.Reason)
	case Wait:
		r.admitSlot(e)
	case BadSigned:
		t.counts.Rejected++
		if !e.msg.Blameless {
			r.chargeInvalid(t, e.from, e.from.ID) // it should have looked at the signature
		}
		r.ended(e.msg, Reject)
		r.unmask(e)
	default:
		t.counts.Ignored++
		r.noteIgnored(e.from)
		r.ended(e.msg, Ignore)
		r.close(e, ignored)
	}
	r.nextChecks(t)
}

// accept passes a delivered message on.
func (r *Router) accept(e *entry) {
	t := e.topic
	for _, p := range e.copies {
		r.creditMesh(t, p)
	}
	if t.spec.ExplicitRelay {
		r.decide(e, awaitsRelay)
		r.ended(e.msg, Accept)
		e.msg = nil // the application has it
		return
	}
	r.creditFirst(e)
	r.decide(e, accepted)
	r.forward(e, false)
	r.spread(e.msg)
	r.say(e)
}

// close ends a message that nobody will be served.
func (r *Router) close(e *entry, s state) {
	r.decide(e, s)
	e.msg, e.copies = nil, nil
}

// unmask forgets a message whose signature was bad. If others sent something under
// the same ID meanwhile, theirs may be the true one: they are asked for it again.
func (r *Router) unmask(e *entry) {
	if len(e.copies) == 0 {
		r.forget(e)
		return
	}
	e.state, e.msg = retryable, nil
	e.live = &live{since: r.now.Add(-askAfter), holders: e.copies[:min(len(e.copies), maxHolders)]}
	e.copies = nil
	r.addRetry(e)
}
