package sched

import (
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// mayWait tells whether one more message may wait that a neighbour announces first. When
// all places are taken, whoever takes most of them loses its newest to one that has less:
// nobody keeps the others out by announcing much.
func (s *State) mayWait(p *neighbour) bool {
	of := s.tally(func(m *Message) bool { return m.state == waiting })
	if of.by[p.id] >= waitPeer {
		return false
	}
	if of.all < waitMost {
		return true
	}
	most := of.by[p.id] + 2
	var last *Message
	for _, m := range s.list {
		if n := of.by[m.From]; m.state == waiting && n >= most && m.onlyOf(m.From) {
			most, last = n, m
		}
	}
	if last == nil {
		return false
	}
	s.countOf(last).TurnedAway++
	s.forget(last, wire.Busy, false)
	return true
}

// onlyOf tells that no other neighbour has announced a message.
func (m *Message) onlyOf(id peerID) bool {
	return !slices.ContainsFunc(m.edges, func(l *edge) bool { return l.known && l.p.id != id })
}

// tally counts messages, in all and by the neighbour that was the first to tell of them.
type tally struct {
	all int
	by  map[peerID]int
}

func (s *State) tally(these func(*Message) bool) tally {
	t := tally{by: make(map[peerID]int)}
	for _, m := range s.list {
		if these(m) {
			t.add(m, 1)
		}
	}
	return t
}

func (t *tally) add(m *Message, n int) {
	t.all += n
	t.by[m.From] += n
}

// least is the count of the neighbours that have announced a message, of the one that has
// the fewest: nobody delays a message of others by being the first to tell of it.
func (t *tally) least(m *Message) int {
	n := t.by[m.From]
	for _, l := range m.edges {
		if l.known {
			n = min(n, t.by[l.p.id])
		}
	}
	return n
}

// admit lets messages begin that wait for space: those of the neighbours of which the
// fewest have begun and are not whole before others, the oldest of them first.
func (s *State) admit() {
	var begin []*Message
	for _, m := range s.list {
		if m.state == waiting && s.specs[m.Manifest.Type] != nil {
			begin = append(begin, m)
		}
	}
	if len(begin) == 0 {
		return
	}
	under := s.tally((*Message).underWay)
	begun := s.tally(func(m *Message) bool { return m.begun && m.state < validating })
	for len(begin) > 0 {
		next := 0
		for i, m := range begin {
			if begun.least(m) < begun.least(begin[next]) {
				next = i
			}
		}
		m := begin[next]
		begin = slices.Delete(begin, next, next+1)
		if under.least(m) >= fetchPeer || !s.makeSpace(m, &under) {
			continue
		}
		if !m.begun {
			begun.add(m, 1)
		}
		m.begun = true
		under.add(m, 1)
		s.used += m.Manifest.Size
		m.lastChunk, m.heard = s.now, s.now
		if s.specs[m.Manifest.Type].Headers && len(m.Manifest.Header) > 0 && !m.cut {
			m.state, m.dueAt = checking, zero
			s.do(Effect{Kind: Check, Msg: m})
			continue
		}
		s.fetch(m)
	}
}

// underWay tells that a message has space, and is not whole.
func (m *Message) underWay() bool { return m.reserves() && m.state < validating }

// makeSpace tells whether there is space for one more message. What was served for long
// enough gives way; for one that begins for the first time, what has brought nothing yet
// does as well, and waits again. Nothing else that is under way does.
func (s *State) makeSpace(m *Message, under *tally) bool {
	for {
		short := s.used+m.Manifest.Size > s.cfg.Memory
		if under.all < fetchMost && !short {
			return true
		}
		if under.all < fetchMost && s.dropServed(false) {
			continue
		}
		i := slices.IndexFunc(s.list, func(o *Message) bool { return !m.begun && o.idle(s.now, yieldTime) })
		if i < 0 {
			return false
		}
		under.add(s.list[i], -1)
		s.yield(s.list[i])
	}
}

// idle tells that nothing of a message has come yet, for a time since it had space.
func (m *Message) idle(now time.Time, d time.Duration) bool {
	return (m.state == fetching || m.state == deferred) && m.reserves() && m.n == 0 && now.Sub(m.heard) >= d
}

// yield has a message wait again.
func (s *State) yield(m *Message) {
	for _, l := range m.edges {
		s.cancel(l, s.unask(l))
	}
	m.state, m.lookAt, m.dueAt = waiting, zero, m.Began.Add(waitTime)
	s.used -= m.Manifest.Size
}
