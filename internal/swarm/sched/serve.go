package sched

import (
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

const (
	// pushMost is how many chunks the source has in a neighbour's queue unasked, within its
	// window.
	pushMost = 8
	// seedWait is how long after its last chunk is in a queue the source waits for the
	// queues, before it tells everybody that it has all.
	seedWait = 200 * time.Millisecond
	// seedStall is how long it waits for neighbours that take nothing, chunks of others
	// left.
	seedStall = time.Second
	// receiverTime is how long, hop by hop, a neighbour that takes nothing keeps the others
	// waiting.
	receiverTime = 200 * time.Millisecond
)

// publish takes a message that this node may show.
func (s *State) publish(ev Event) {
	if m := s.msgs[ev.ID]; m != nil {
		if m.n == m.k && (m.state == awaitsRelay || m.state == validating) {
			s.serve(m)
			return
		}
		if m.state == serving {
			return
		}
		// It came by another way before it was whole here.
		s.forget(m, wire.Dropped, false)
	}
	if o := s.digest[ev.Digest]; o != nil {
		if o.state == serving {
			return
		}
		s.forget(o, wire.Dropped, false)
	}
	size := ev.Manifest.Size
	if !s.spaceForOwn(size) {
		s.count(ev.Manifest.Type).TurnedAway++
		s.do(Effect{Kind: Refused})
		return
	}
	m := newMessage(ev.Manifest, ev.ID, ev.Digest, s.now)
	m.state, m.n, m.have, m.data, m.whole = serving, m.k, wire.Full(m.k), nil, ev.Data
	m.until = s.now.Add(serveTime)
	s.enter(m)
	s.own += size
	s.countOf(m).Published++
	if spec := s.specs[m.Manifest.Type]; len(m.Manifest.Header) > 0 && spec != nil && spec.Headers {
		m.cut, m.seeding = true, true
		m.pool = s.rng.Perm(m.k)
	}
	var to []*edge
	for _, p := range s.order {
		if most, ok := p.takes[m.Manifest.Type]; ok && size <= most && !p.banned {
			to = append(to, s.edge(m, p))
		}
	}
	// Those that answered fast before come first: each gives away what it gets.
	s.rng.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
	coming := make(map[*edge]wire.Set)
	for range pushMost {
		for _, l := range to {
			if c, ok := s.drawFor(l); ok {
				set := coming[l]
				set.Add(c)
				coming[l] = set
			}
		}
	}
	for _, l := range to {
		s.tell(m, l, coming[l])
		for c := range coming[l].All() {
			s.give(l, c)
		}
	}
	s.seeded(m)
	m.dueAt = m.nextDue(s.now)
}

// drawFor takes a chunk out of the source's pool for a neighbour, if that may have one
// more in its queue. It is to be named, and given.
func (s *State) drawFor(l *edge) (c int, ok bool) {
	m := l.m
	ahead := (l.pushed + 1) * m.size(0)
	if len(m.pool) == 0 || l.pushed >= pushMost || l.pushed > 0 && ahead > m.window(l, s.usable(m)) {
		return 0, false
	}
	c = m.pool[0]
	m.pool = m.pool[1:]
	m.drawn = s.now
	l.pushed++
	return c, true
}

// refill has the source queue another chunk for a neighbour, each chunk for one of
// them only. Whoever takes faster gets more.
func (s *State) refill(l *edge) {
	m := l.m
	if !m.seeding {
		return
	}
	if l.told {
		if c, ok := s.drawFor(l); ok {
			f := l.ref(wire.Have)
			f.Coming.Add(c)
			s.say(l.p, f)
			s.give(l, c)
		}
	}
	s.seeded(m)
}

// seeded tells everybody that the source has all, once the last chunk has left, or has
// waited for long enough behind others.
func (s *State) seeded(m *Message) {
	if !m.seeding || m.state != serving {
		return
	}
	left := 0
	for _, l := range m.edges {
		left += l.pushed
	}
	if left > 0 && s.now.Sub(m.drawn) < m.seedPatience() {
		m.dueAt = m.nextDue(s.now)
		return
	}
	m.seeding, m.pool = false, nil
	m.newHave = wire.Full(m.k)
	s.flush(m)
}

func (m *Message) seedPatience() time.Duration {
	if len(m.pool) > 0 {
		return seedStall
	}
	return seedWait
}

// tellNew tells a neighbour of a message that came while it was under way.
func (s *State) tellNew(m *Message, l *edge) {
	var coming wire.Set
	for m.seeding && !l.told {
		c, ok := s.drawFor(l)
		if !ok {
			break
		}
		coming.Add(c)
	}
	s.tell(m, l, coming)
	for c := range coming.All() {
		s.give(l, c)
	}
}

// serve shows and serves a message that the application has accepted.
func (s *State) serve(m *Message) {
	m.state = serving
	m.until = s.now.Add(serveTime)
	s.show(m)
	for _, l := range m.edges {
		// They need not keep it for this node: not all was said to those that sent it, or
		// were sent it.
		if (m.cut && l.open || l.known && l.all) && !l.p.banned {
			s.sayAll(l)
		}
	}
	m.dueAt = m.nextDue(s.now)
}

// sayAll tells a neighbour that all of a message is here.
func (s *State) sayAll(l *edge) {
	f := l.ref(wire.Have)
	f.Have = l.m.have
	s.say(l.p, f)
}

// missed tells whether a neighbour was told of the message, or is to be told again because
// it had no space, and does not have it yet.
func (m *Message) missed() bool {
	return slices.ContainsFunc(m.edges, func(l *edge) bool {
		return (l.told || !l.againAt.IsZero()) && !l.all && !l.p.banned
	})
}

// wanted takes what a neighbour asks for.
func (s *State) wanted(l *edge, set wire.Set) {
	m := l.m
	if !m.shown() || !l.open {
		return
	}
	for c := range set.All() {
		switch {
		case m.have.Has(c):
			s.give(l, c)
		case l.flags[c]&fHave == 0:
			l.flags[c] |= fWant
		}
	}
}

// serveNew hands a chunk that has just come to those who asked for it before.
func (s *State) serveNew(m *Message, c int) {
	for _, i := range s.rng.Perm(len(m.edges)) {
		if l := m.edges[i]; l.flags[c]&fWant != 0 {
			s.give(l, c)
		}
	}
}

// give queues a chunk for a neighbour, twice at most.
func (s *State) give(l *edge, c int) {
	f := &l.flags[c]
	if *f&fAgain != 0 || l.p.banned || slices.Contains(l.p.queue, queued{l, c}) {
		return
	}
	if *f&fSent != 0 {
		*f |= fAgain
	}
	*f = *f&^fWant | fSent
	l.p.queue = append(l.p.queue, queued{l, c})
	s.do(Effect{Kind: Ready, Peer: l.p.id})
}

// cancelled takes that a neighbour does not need chunks any more.
func (s *State) cancelled(l *edge, set wire.Set) {
	for c := range set.All() {
		l.flags[c] &^= fWant
		if i := slices.Index(l.p.queue, queued{l, c}); i >= 0 {
			l.p.queue = slices.Delete(l.p.queue, i, i+1)
			l.flags[c] &^= fSent
			l.pushed = max(l.pushed-1, 0)
		}
	}
	s.refill(l)
}

// dequeue takes all chunks of a message off a neighbour's queue.
func (s *State) dequeue(l *edge) {
	l.p.queue = slices.DeleteFunc(l.p.queue, func(q queued) bool { return q.l == l })
	l.pushed = 0
}

// pull gives the next chunk for a neighbour.
func (s *State) pull(id peerID) {
	p := s.peers[id]
	if p == nil || p.banned {
		return
	}
	for i, q := range p.queue {
		if !s.mayServe(q.l) {
			continue
		}
		p.queue = slices.Delete(p.queue, i, i+1)
		m := q.l.m
		b := m.chunk(q.c)
		s.countOf(m).BytesOut += int64(len(b))
		s.countOf(m).Served++
		m.tally.Served++
		f := q.l.ref(wire.Chunk)
		f.Index, f.Data = q.c, b
		s.do(Effect{Kind: Give, Peer: id, Frame: f, Msg: m})
		q.l.pushed = max(q.l.pushed-1, 0)
		s.refill(q.l)
		s.pass(q.l)
		return
	}
}

// mayServe tells whether a neighbour may be served now. Hop by hop, one is served to the
// end before the next: it then serves others, where a tenth of the message at each of
// ten helps nobody.
func (s *State) mayServe(l *edge) bool {
	m := l.m
	if m.cut {
		return true
	}
	if m.receiver != nil && m.receiver != l && s.now.Sub(m.receiverAt) < receiverTime && m.receiver.queued() {
		return false
	}
	m.receiver, m.receiverAt = l, s.now
	return true
}

func (l *edge) queued() bool {
	return slices.ContainsFunc(l.p.queue, func(q queued) bool { return q.l == l })
}

// pass wakes the next neighbour when the one that was served has all it asked for.
func (s *State) pass(l *edge) {
	m := l.m
	if m.cut || l.queued() {
		return
	}
	for _, o := range m.edges {
		if o != l && o.queued() {
			s.do(Effect{Kind: Ready, Peer: o.p.id})
		}
	}
}
