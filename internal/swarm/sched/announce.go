package sched

import (
	"crypto/sha256"
	"time"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

const (
	// headerMost is how many messages are taken under one header, for headers that
	// cannot cover the digest.
	headerMost = 2
	// againFirst is how long after a neighbour had no space it is told again; the time
	// doubles up to againMost.
	againFirst = time.Second
	againMost  = 8 * time.Second
)

// received takes a frame.
func (s *State) received(ev Event) {
	p, f := s.peers[ev.Peer], ev.Frame
	if p == nil || p.banned {
		return
	}
	if f.Kind == wire.Announce {
		s.announced(p, ev)
		return
	}
	l := p.about(f)
	if l == nil {
		if f.Kind == wire.Chunk {
			// It may have crossed the end of the message.
			if !p.strays.Take(strayRate, s.now, 1) {
				s.do(Effect{Kind: Blame, Peer: p.id, Fault: FaultJunk})
			}
		}
		return
	}
	if max(f.Index, f.Have.Max(), f.Soon.Max(), f.Coming.Max(), f.Chunks.Max()) >= l.m.k { // Index is 0 but in a chunk
		s.do(Effect{Kind: Blame, Peer: p.id, Fault: FaultFrame})
		return
	}
	switch f.Kind {
	case wire.Have:
		s.offered(l, f)
	case wire.Want:
		s.wanted(l, f.Chunks)
	case wire.Cancel:
		s.cancelled(l, f.Chunks)
	case wire.Gone:
		s.left(l, f.Reason)
	case wire.Chunk:
		s.chunk(l, ev)
	}
}

// announced takes an announcement.
func (s *State) announced(p *neighbour, ev Event) {
	f := ev.Frame
	if !p.announces.Take(announceRate, s.now, 1) {
		s.do(Effect{Kind: Blame, Peer: p.id, Fault: FaultAnnounce})
		return
	}
	no := func(r wire.Reason) {
		s.say(p, &wire.Frame{Kind: wire.Gone, Number: f.Number, Yours: true, Reason: r})
	}
	m := s.msgs[ev.ID]
	if m == nil {
		spec := s.specs[f.Manifest.Type]
		switch {
		case ev.Unheeded: // later it would be offered again, before what is new
			no(wire.Refused)
			return
		case s.past.has(ev.ID), spec == nil, !spec.Joined, f.Manifest.Size > spec.MaxSize:
			no(wire.Refused)
			return
		case s.digest[ev.Digest] != nil:
			// The same content under another header: when it is here, it is known.
			if s.digest[ev.Digest].state == serving {
				no(wire.Refused)
			} else {
				no(wire.Busy)
			}
			return
		case !s.mayWait(p):
			s.count(f.Manifest.Type).TurnedAway++
			no(wire.Busy)
			return
		}
		if len(f.Manifest.Header) > 0 && spec.Headers {
			if h := sha256.Sum256(f.Manifest.Header); s.heads[h] >= headerMost {
				s.count(f.Manifest.Type).Refused++
				no(wire.Refused)
				return
			}
		}
		m = newMessage(f.Manifest, ev.ID, ev.Digest, s.now)
		m.From, m.dueAt = p.id, s.now.Add(waitTime)
		s.enter(m)
		s.countOf(m).Announced++
	}
	l := s.edge(m, p)
	if l.known {
		delete(p.theirs, l.their)
		s.unsay(l)
	}
	l.known, l.their = true, f.Number
	p.theirs[f.Number] = l
	if f.Whole {
		s.hasAll(l)
	}
	s.admit()
	switch {
	case m.state == serving && !m.seeding:
		l.open = true
		s.sayAll(l)
	case m.shown():
		s.tell(m, l, nil)
	}
	s.coming(l, f)
	s.choose(m)
}

// unsay forgets what a neighbour has said to have.
func (s *State) unsay(l *edge) {
	s.unask(l)
	l.all = false
	for c := range l.flags {
		l.flags[c] &^= fHave | fSoon | fNamed
	}
}

func (s *State) hasAll(l *edge) {
	l.all = true
	for c := range l.m.k {
		s.has(l, c)
	}
}

// has notes that a neighbour has a chunk.
func (s *State) has(l *edge, c int) {
	l.flags[c] = l.flags[c]&^fWant | fHave
	if l.m.offeredAt[c].IsZero() {
		l.m.offeredAt[c] = s.now
	}
}

// offered takes what a neighbour has, has asked for, and sends unasked.
func (s *State) offered(l *edge, f *wire.Frame) {
	m := l.m
	for c := range f.Have.All() {
		s.has(l, c)
	}
	for c := range f.Soon.All() {
		// A promise counts only if it came before this node's own.
		if !m.promised.Has(c) {
			l.flags[c] |= fSoon
		}
	}
	if !l.all {
		l.all = true
		for _, fl := range l.flags {
			if fl&fHave == 0 {
				l.all = false
				break
			}
		}
	}
	s.coming(l, f)
	s.choose(m)
}

// coming takes the names of chunks that a neighbour is about to send. What the source
// names to this node is named on, that once: nobody else can have it but from here. A
// neighbour that does so promises it as well. More than a window of them may be false.
func (s *State) coming(l *edge, f *wire.Frame) {
	m := l.m
	most := 3 * m.window(l, s.usable(m))
	var no wire.Set
	for c := range f.Coming.All() {
		if c >= m.k {
			break
		}
		l.flags[c] |= fNamed
		if l.out > 0 && l.out+m.size(c) > most {
			continue // it may come; until then it may be asked of others
		}
		if m.have.Has(c) || m.asked[c] != nil || m.state != fetching && m.state != checking && m.state != deferred {
			no.Add(c)
			continue
		}
		s.ask(l, c)
		if !f.Soon.Has(c) {
			m.first.Add(c)
		}
		if m.state == fetching {
			s.promise(m, c)
		}
	}
	if !no.Empty() {
		f := l.ref(wire.Cancel)
		f.Chunks = no
		s.say(l.p, f)
	}
}

// promise has the neighbours told that this node will have a chunk.
func (s *State) promise(m *Message, c int) {
	if !m.cut || m.promised.Has(c) {
		return
	}
	m.promised.Add(c)
	m.newSoon.Add(c)
	s.gather(m)
}

// gather has what is new announced a moment later, together with what comes until
// then.
func (s *State) gather(m *Message) {
	if m.flushAt.IsZero() {
		m.flushAt = s.now.Add(gather)
	}
}

// left takes that a neighbour does not go on with a message.
func (s *State) left(l *edge, r wire.Reason) {
	s.unsay(l)
	delete(l.p.theirs, l.their)
	l.known = false
	s.dequeue(l)
	for c := range l.flags {
		l.flags[c] &^= fWant | fTold | fSent | fAgain
	}
	if l.told {
		delete(l.p.ours, l.our)
		l.told = false
	}
	l.open = false
	if r == wire.Refused {
		l.refused = true
	} else {
		l.againAt = s.now.Add(min(againFirst<<min(l.tries, 5), againMost))
		l.tries++
		if l.m.state == serving {
			l.m.dueAt = l.m.nextDue(s.now)
		}
	}
	s.choose(l.m)
	s.seeded(l.m)
}

// tell announces a message to a neighbour, and what of it is here.
func (s *State) tell(m *Message, l *edge, coming wire.Set) {
	p := l.p
	if most, ok := p.takes[m.Manifest.Type]; !ok || m.Manifest.Size > most || l.open || l.refused || l.all || p.banned || !l.againAt.IsZero() {
		return
	}
	l.open = true
	if !l.known {
		p.next++
		l.told, l.our = true, p.next
		p.ours[l.our] = l
		whole := m.n == m.k && !m.seeding
		s.say(p, &wire.Frame{Kind: wire.Announce, Number: l.our, Manifest: m.Manifest, Whole: whole, Coming: coming})
		if whole {
			return
		}
	}
	if m.seeding {
		return
	}
	// What came before the neighbour was told of it, or the other way round.
	f := l.ref(wire.Have)
	for c := range m.k {
		switch {
		case l.flags[c]&fHave != 0 || m.asked[c] == l:
		case m.have.Has(c) && !m.newHave.Has(c):
			f.Have.Add(c)
		case m.promised.Has(c) && !m.newSoon.Has(c) && l.flags[c]&fSoon == 0:
			s.foretell(l, c, f)
		}
	}
	if !f.Have.Empty() || !f.Soon.Empty() {
		s.say(p, f)
	}
}

// foretell promises a neighbour a chunk in f, and names it when it comes from the source.
func (s *State) foretell(l *edge, c int, f *wire.Frame) {
	l.flags[c] |= fTold
	f.Soon.Add(c)
	if l.m.first.Has(c) {
		l.flags[c] |= fWant
		f.Coming.Add(c)
	}
}

// show announces a message to all neighbours that are not known to have it.
func (s *State) show(m *Message) {
	for _, p := range s.order {
		s.tell(m, s.edge(m, p), nil)
	}
}

// flush announces what is new of a message.
func (s *State) flush(m *Message) {
	m.flushAt = time.Time{}
	for _, l := range m.edges {
		if !l.open || l.p.banned || l.all {
			continue
		}
		f := l.ref(wire.Have)
		for c := range m.newHave.All() {
			// Whoever was sent it, has it or waits for it here need not be told.
			if l.flags[c]&(fHave|fSent|fWant) == 0 {
				l.flags[c] |= fTold
				f.Have.Add(c)
			}
		}
		for c := range m.newSoon.All() {
			if l.flags[c]&(fHave|fSoon|fTold|fSent|fWant) == 0 && m.asked[c] != l {
				s.foretell(l, c, f)
			}
		}
		if !f.Have.Empty() || !f.Soon.Empty() {
			s.say(l.p, f)
		}
	}
	m.newHave, m.newSoon = nil, nil
}
