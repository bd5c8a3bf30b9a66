package sched

import (
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// Expect tells how long a chunk is that a frame of a peer begins, and whether it is
// one that was asked for, or named, and is not here. What is not need not be kept.
func (s *State) Expect(id peerID, f *wire.Frame) (size int, wanted bool) {
	p := s.peers[id]
	if p == nil || p.banned {
		return 0, false
	}
	l := p.about(f)
	if l == nil || f.Index >= l.m.k {
		return 0, false
	}
	return l.m.size(f.Index), l.flags[f.Index]&(fAsked|fNamed) != 0 && !l.m.have.Has(f.Index)
}

// heard notes that a part of a chunk has come.
func (s *State) heard(ev Event) {
	p := s.peers[ev.Peer]
	if p == nil {
		return
	}
	p.proven = true
	p.suspect, p.snubbed, p.snubbing = false, s.now, snubTime
	for _, l := range p.edges {
		l.heard = s.now
	}
	if ev.Frame == nil {
		return
	}
	if l := p.about(ev.Frame); l != nil {
		l.m.heard = s.now
	}
}

// junk counts a chunk that nobody asked for.
func (s *State) junk(p *neighbour, m *Message) {
	s.countOf(m).Junk++
	if p.junk++; p.junk > junkFree {
		s.do(Effect{Kind: Blame, Peer: p.id, Fault: FaultJunk})
	}
}

// chunk takes a whole chunk.
func (s *State) chunk(l *edge, ev Event) {
	m, p, c := l.m, l.p, ev.Frame.Index
	size := m.size(c)
	counts := s.countOf(m)
	counts.BytesIn += int64(size)
	s.meter.add(s.now, size)
	l.heard = s.now
	switch {
	case l.flags[c]&(fAsked|fNamed) == 0:
		s.junk(p, m)
		return
	case m.have.Has(c):
		counts.Duplicates++
		m.tally.Duplicates++
		l.flags[c] = l.flags[c]&^(fWant|fNamed) | fHave
		return
	case len(ev.Frame.Data) != size || ev.Sum != m.Manifest.Sums[c]:
		counts.Lies++
		s.ban(p)
		return
	}
	if at := m.askedAt[c]; m.asked[c] == l && l.flags[c]&fHave != 0 {
		if took := s.now.Sub(at); p.answer == 0 || took < p.answer {
			p.answer = took
		}
	}
	if m.asked[c] == l && l.flags[c]&(fHave|fNamed) == 0 {
		counts.PromisesKept++
		m.tally.PromisesKept++
	}
	l.flags[c] = l.flags[c]&^(fWant|fNamed) | fHave
	l.served++
	if !m.cut {
		s.grow(l, c)
	}
	if m.state > validating || m.state == waiting {
		return
	}
	if q := m.asked[c]; q != nil {
		s.release(m, c)
		if q != l {
			s.cancel(q, wire.SetOf(c))
		}
	}
	m.have.Add(c)
	m.data[c] = ev.Frame.Data
	m.n++
	m.lastChunk = s.now
	counts.Chunks++
	if m.cut {
		s.serveNew(m, c)
		m.newHave.Add(c)
		s.gather(m)
	}
	if m.n == m.k && m.state == fetching {
		s.complete(m)
	}
	s.choose(m)
	if s.asked() < askFirst {
		for _, o := range s.list {
			if o != m {
				s.choose(o)
			}
		}
	}
}

// grow widens the window of a neighbour that serves a message hop by hop, up to a
// fair share: it has all of it, and serves one after the other.
func (s *State) grow(l *edge, c int) {
	m := l.m
	holders := 0
	for _, o := range m.edges {
		if o.flags[c]&fHave != 0 {
			holders++
		}
	}
	most := m.Manifest.Size/max(1, holders) - windowLeast
	if l.grown < most {
		l.grown = min(most, l.grown+m.size(c))
	}
}

// complete has a whole message validated.
func (s *State) complete(m *Message) {
	m.state, m.lookAt, m.dueAt = validating, zero, zero
	m.tookAll = s.now.Sub(m.Began)
	c := s.countOf(m)
	c.Fetched++
	c.TimeToWhole += m.tookAll
	s.validate(m)
	s.admit()
}

// validate offers a whole message to the application, as one of the peer that was first with
// it or, when that is gone, of the one that sent most of it.
func (s *State) validate(m *Message) {
	from, most := m.From, -1
	if s.peers[from] == nil {
		for _, l := range m.edges {
			if l.served > most {
				from, most = l.p.id, l.served
			}
		}
	}
	s.do(Effect{Kind: Validate, Peer: from, Msg: m})
}

// ban ends all with a neighbour that lies.
func (s *State) ban(p *neighbour) {
	p.banned = true
	s.do(Effect{Kind: Ban, Peer: p.id, Fault: FaultChunk})
	p.queue = nil
	for _, l := range p.edges {
		s.unask(l)
		for c := range l.flags {
			l.flags[c] = 0
		}
	}
	for _, l := range p.edges {
		s.choose(l.m)
	}
}
