package sched

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

type peerID = peer.ID

var zero time.Time

// enter puts a message into the books.
func (s *State) enter(m *Message) {
	s.msgs[m.ID] = m
	s.digest[m.Digest] = m
	s.list = append(s.list, m)
	if len(m.Manifest.Header) > 0 {
		s.heads[sha256.Sum256(m.Manifest.Header)]++
	}
}

// reserves tells whether memory is set aside for a message that came from others.
func (m *Message) reserves() bool { return m.From != "" && m.state != waiting }

// spaceForOwn makes space for an own message. What others have had the time to fetch
// gives way.
func (s *State) spaceForOwn(size int) bool {
	for s.own+size > s.cfg.Memory {
		if !s.dropServed(true) {
			return false
		}
	}
	return true
}

// dropServed drops the oldest message, own or of others, that was served for long enough.
func (s *State) dropServed(own bool) bool {
	i := slices.IndexFunc(s.list, func(m *Message) bool {
		return (m.From == "") == own && m.state == serving && m.served(s.now)
	})
	if i < 0 {
		return false
	}
	s.forget(s.list[i], wire.Dropped, true)
	return true
}

// served tells whether others have had the time to fetch a message that is whole, or have
// it.
func (m *Message) served(now time.Time) bool { return !now.Before(m.servedAt()) || m.spread() }

func (m *Message) servedAt() time.Time { return m.Began.Add(m.tookAll + serveTime/6) }

// spread tells whether all that were told of a message have it.
func (m *Message) spread() bool {
	return !m.missed() && slices.ContainsFunc(m.edges, func(l *edge) bool { return l.told })
}

// fetch begins to ask for chunks.
func (s *State) fetch(m *Message) {
	m.state = fetching
	m.dueAt = s.now.Add(stallTime)
	if m.cut {
		for c := range m.k {
			if m.asked[c] != nil { // they came named, or are about to
				m.promised.Add(c)
			}
		}
		// What is here already, and what is coming, is told with the announcement.
		s.show(m)
	}
	if m.n == m.k {
		s.complete(m)
		return
	}
	s.choose(m)
	if m.lookAt.IsZero() {
		m.lookAt = s.now.Add(lookEvery)
	}
}

// forget takes a message out of the books. Neighbours that may still ask for it are
// told. With keep its ID is remembered.
func (s *State) forget(m *Message, r wire.Reason, keep bool) {
	reserved := m.reserves()
	m.state = gone
	for c := range m.asked {
		s.release(m, c)
	}
	for _, l := range slices.Clone(m.edges) {
		// One that has all of it need not know, but when it is to tell of it again.
		if (l.told || l.known) && !l.p.banned && (!l.all || r == wire.Refused || m.n < m.k) {
			f := l.ref(wire.Gone)
			f.Reason = r
			s.say(l.p, f)
		}
		l.remove()
	}
	m.edges, m.receiver = nil, nil
	if reserved {
		s.used -= m.Manifest.Size
	} else if m.From == "" {
		s.own -= m.Manifest.Size
	}
	delete(s.msgs, m.ID)
	if s.digest[m.Digest] == m {
		delete(s.digest, m.Digest)
	}
	s.list = slices.DeleteFunc(s.list, func(o *Message) bool { return o == m })
	var head wire.Sum
	if len(m.Manifest.Header) > 0 {
		head = sha256.Sum256(m.Manifest.Header)
	}
	if keep {
		s.past.add(s, m.ID, head)
	} else {
		s.unhead(head)
	}
	s.do(Effect{Kind: Ended, Msg: m})
}

// unhead counts one message less under a header.
func (s *State) unhead(head wire.Sum) {
	if n := s.heads[head]; n > 1 {
		s.heads[head] = n - 1
	} else {
		delete(s.heads, head)
	}
}

// past remembers messages that are over: a copy is not taken again.
type past struct {
	at    map[wire.Sum]*bygone
	order []*bygone
}

type bygone struct {
	id, head wire.Sum
	until    time.Time
}

func (b *past) has(id wire.Sum) bool { return b.at[id] != nil }

func (b *past) add(s *State, id, head wire.Sum) {
	e := &bygone{id, head, s.now.Add(refusedTime)}
	b.at[id] = e
	b.order = append(b.order, e)
	if len(b.order) > pastMost {
		b.drop(s)
	}
}

func (b *past) drop(s *State) {
	e := b.order[0]
	b.order[0] = nil
	b.order = b.order[1:]
	delete(b.at, e.id)
	s.unhead(e.head)
}

func (b *past) expire(s *State) {
	for len(b.order) > 0 && !s.now.Before(b.order[0].until) {
		b.drop(s)
	}
}

const (
	strikeMost   = 3
	strikeTime   = 10 * time.Minute
	distrustTime = time.Minute
)

// strikes are the messages of a type that were invalid behind an accepted header.
type strikes struct {
	at    []time.Time
	until time.Time // the type goes hop by hop
}

// strike notes one. After three in ten minutes the type goes hop by hop for a minute:
// somebody whose headers are accepted sends junk through everybody.
func (s *State) strike(typ string) {
	b := s.bad[typ]
	if b == nil {
		b = new(strikes)
		s.bad[typ] = b
	}
	b.at = append(slices.DeleteFunc(b.at, func(t time.Time) bool { return s.now.Sub(t) >= strikeTime }), s.now)
	if len(b.at) >= strikeMost {
		b.until, b.at = s.now.Add(distrustTime), nil
	}
}

func (s *State) distrusts(typ string) bool {
	b := s.bad[typ]
	return b != nil && s.now.Before(b.until)
}
