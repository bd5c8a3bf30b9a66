package router

import "slices"

// fairQueue shares the slots of a topic among the peers that send in it: a slot
// goes round robin to the senders, and when too many messages wait, whoever has most
// waiting gives way.
type fairQueue struct {
	senders []*sender
	next    int // index into senders of the next one
	running int
	waiting int // without those that hold a place among the deferred
}

// sender is one peer in a fairQueue. It is there while it has something in it.
type sender struct {
	p       *Peer
	queue   []*entry
	waiting int // of queue, those that hold no place among the deferred
	running int
}

func (q *fairQueue) sender(p *Peer) *sender {
	for _, s := range q.senders {
		if s.p == p {
			return s
		}
	}
	s := &sender{p: p}
	q.senders = append(q.senders, s)
	return s
}

func (q *fairQueue) drop(s *sender) {
	if len(s.queue) > 0 || s.running > 0 {
		return
	}
	if i := slices.Index(q.senders, s); i >= 0 {
		q.senders = slices.Delete(q.senders, i, i+1)
		if q.next > i {
			q.next--
		}
	}
}

// share is how many slots one sender may hold: some are left to others, so that one
// whose messages take long does not shut them out.
func (t *Topic) share() int { return t.spec.Concurrency - t.spec.Concurrency/4 }

// space is how many more messages of the topic can be taken in now.
func (t *Topic) space() int {
	if t.spec.Inline && t.queue.waiting == 0 {
		return maxAsk
	}
	return t.spec.Concurrency - t.queue.running + t.spec.Queue - t.queue.waiting
}

// admitCheck has a message validated, now or when there is a slot.
func (r *Router) admitCheck(e *entry) {
	if e.topic.spec.Inline {
		r.validateNow(e)
		return
	}
	r.admitSlot(e)
}

// admitSlot has a message validated when there is a slot.
func (r *Router) admitSlot(e *entry) {
	t, q := e.topic, &e.topic.queue
	s := q.sender(e.from)
	e.state, e.live.sender = waiting, s
	switch {
	case q.running < t.spec.Concurrency && s.running < t.share():
		q.start(s)
		r.validate(e)
	case q.waiting < t.spec.Queue:
		q.waiting++
		s.waiting++
		s.queue = append(s.queue, e)
		r.weighQueue(t)
	default:
		r.overflow(e, s)
	}
}

func (q *fairQueue) start(s *sender) {
	q.running++
	s.running++
}

// validate has the caller validate a message that holds a slot.
func (r *Router) validate(e *entry) { r.startValidation(e, Validate) }

// validateNow has the caller validate a message that holds no slot, at once.
func (r *Router) validateNow(e *entry) { r.startValidation(e, ValidateNow) }

func (r *Router) startValidation(e *entry, kind EffectKind) {
	e.state, e.live.epoch = validating, r.deferrals.epoch
	e.msg.entry = e
	r.out = append(r.out, Effect{Kind: kind, Peer: e.from.ID, Msg: e.msg})
}

// overflow turns a message away for want of places: this one, or the last of the
// sender that has most, if that is another one with more.
func (r *Router) overflow(e *entry, s *sender) {
	q := &e.topic.queue
	most := s
	for _, o := range q.senders {
		if o.waiting > most.waiting {
			most = o
		}
	}
	if most.waiting > s.waiting+1 {
		out := most.last()
		most.queue = removeEntry(most.queue, out)
		s.queue = append(s.queue, e)
		most.waiting--
		s.waiting++
		out.live.sender = nil
		q.drop(most)
		r.turnAway(out, AwayOverload)
		return
	}
	e.live.sender = nil
	q.drop(s)
	r.turnAway(e, AwayOverload)
}

// last is the youngest one that holds no place elsewhere.
func (s *sender) last() *entry {
	for i := len(s.queue) - 1; i >= 0; i-- {
		if !s.queue[i].live.placed {
			return s.queue[i]
		}
	}
	return nil
}

func removeEntry(es []*entry, e *entry) []*entry {
	if i := slices.Index(es, e); i >= 0 {
		return slices.Delete(es, i, i+1)
	}
	return es
}

// freeSlot gives back the slot of a message that was validated.
func (r *Router) freeSlot(e *entry) {
	s := e.live.sender
	if s == nil {
		return
	}
	q := &e.topic.queue
	e.live.sender = nil
	s.running--
	q.running--
	q.drop(s)
}

// nextChecks hands free slots to senders, round robin.
func (r *Router) nextChecks(t *Topic) {
	q := &t.queue
	for skipped := 0; q.running < t.spec.Concurrency && skipped < len(q.senders); {
		if q.next >= len(q.senders) {
			q.next = 0
		}
		s := q.senders[q.next]
		q.next++
		if len(s.queue) == 0 || s.running >= t.share() {
			skipped++
			continue
		}
		skipped = 0
		e := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if e.live.placed {
			r.deferrals.release(e)
		} else {
			q.waiting--
			s.waiting--
		}
		q.start(s)
		r.validate(e)
	}
	r.weighQueue(t)
}

// timeOut turns away what has waited for a slot for too long.
func (r *Router) timeOut(t *Topic) {
	q := &t.queue
	for _, s := range slices.Clone(q.senders) {
		var expired []*entry
		s.queue = slices.DeleteFunc(s.queue, func(e *entry) bool {
			old := !e.live.placed && r.now.Sub(e.live.since) > t.spec.Deadline
			if old {
				expired = append(expired, e)
			}
			return old
		})
		for _, e := range expired {
			q.waiting--
			s.waiting--
			e.live.sender = nil
			r.turnAway(e, AwayTimeout)
		}
		q.drop(s)
	}
	r.weighQueue(t)
}

// unplace takes an entry out of the queue and the deferred ones, wherever it is.
func (r *Router) unplace(e *entry) {
	if e.live == nil {
		return
	}
	if e.live.placed {
		r.deferrals.release(e)
	}
}
