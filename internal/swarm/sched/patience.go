package sched

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

const (
	// switchAfter is how long after another neighbour said that it has a chunk a
	// promise of it gives way. Measured from then, never from how long chunks take on
	// average: waiting would lengthen the patience.
	switchAfter = 150 * time.Millisecond
	// answerLeast and answerMost bound how long a holder may deliver nothing at all;
	// between them it is answerLeast and two round trips, or answerMost while none is
	// known.
	answerLeast = 200 * time.Millisecond
	answerMost  = 600 * time.Millisecond
	// snubTime is how long a neighbour is not asked that delivered nothing; the time
	// doubles up to snubMost, whatever the message, until it delivers.
	snubTime = 5 * time.Second
	snubMost = 5 * time.Minute
	// slowAfter is how long after it was asked of a slow holder a chunk is asked of
	// another one that has nothing else to do; doubled each time.
	slowAfter = time.Second
	// suspectAfter is how long no chunk of a message has come when one that was snubbed,
	// and has delivered nothing since, is asked again.
	suspectAfter = 500 * time.Millisecond
)

// look takes requests away from those who do not deliver.
func (s *State) look(m *Message) {
	m.lookAt = time.Time{}
	if m.state != fetching && m.state != checking && m.state != deferred {
		return
	}
	for _, l := range m.edges {
		if l.out > 0 {
			s.lookAtHolder(l)
		}
	}
	for c := range m.k {
		if m.asked[c] != nil {
			s.lookAtChunk(m, c)
		}
	}
	if m.state == fetching {
		m.dueAt = m.lastChunk.Add(stallTime)
		m.lookAt = s.now.Add(lookEvery)
	}
	s.choose(m)
}

// lookAtHolder snubs a neighbour that says that it has chunks, was asked, and has sent
// nothing at all. One that delivers, however slowly, is left alone: a full line is not
// its fault.
func (s *State) lookAtHolder(l *edge) {
	patience := answerMost
	if rtt := max(l.p.answer, l.p.rtt); rtt > 0 {
		patience = min(answerLeast+2*rtt, answerMost)
	}
	if s.now.Sub(l.heard) < patience {
		return
	}
	old, others := false, false
	for c, q := range l.m.asked {
		if q == l && l.flags[c]&fHave != 0 && s.now.Sub(l.m.askedAt[c]) >= patience {
			old = true
			others = others || s.offeredElsewhere(l, c)
		}
	}
	if !old || !others {
		return // without anybody else to ask, nothing is gained
	}
	p := l.p
	p.suspect = true
	p.snubbed = s.now.Add(p.snubbing)
	p.snubbing = min(2*p.snubbing, snubMost)
	s.countOf(l.m).Snubs++
	for _, o := range p.edges {
		s.cancel(o, s.unask(o))
	}
	p.proven = false
	for _, o := range p.edges {
		if o != l {
			s.choose(o.m)
		}
	}
}

// offeredElsewhere tells whether another neighbour has a chunk or will have it.
func (s *State) offeredElsewhere(l *edge, c int) bool {
	for _, o := range l.m.edges {
		if ok, _ := o.offers(c); ok && o != l && !o.p.snub(s.now) {
			return true
		}
	}
	return false
}

// lookAtChunk takes a request away from who has promised a chunk, when another one has
// it by now or it takes too long, and from a slow holder, when a fast one is idle.
func (s *State) lookAtChunk(m *Message, c int) {
	l := m.asked[c]
	since := s.now.Sub(m.askedAt[c])
	if l.flags[c]&fHave != 0 {
		if since < slowAfter<<min(m.retried[c], 6) || !s.another(l, c, true) {
			return
		}
		m.retried[c]++
	} else {
		offered := m.offeredAt[c]
		switch {
		case since > 2*answerMost:
		case offered.IsZero() || s.now.Sub(offered) < switchAfter || since < switchAfter || !s.another(l, c, false):
			return
		}
		s.countOf(m).PromisesBroken++
		m.tally.PromisesBroken++
		l.flags[c] &^= fSoon | fNamed
	}
	s.release(m, c)
	s.cancel(l, wire.SetOf(c))
	if l.flags[c]&fHave != 0 {
		// Not the same one again, as long as there are others.
		l.flags[c] &^= fHave
		l.all = false
	}
}

// another tells whether a neighbour other than l has a chunk and space for a request;
// idle: and nothing else to do.
func (s *State) another(l *edge, c int, idle bool) bool {
	usable := s.usable(l.m)
	for _, o := range l.m.edges {
		if o == l || o.flags[c]&fHave == 0 || o.p.snub(s.now) {
			continue
		}
		if o.out == 0 || !idle && o.out+l.m.size(c) <= l.m.window(o, usable) {
			return true
		}
	}
	return false
}
