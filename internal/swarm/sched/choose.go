package sched

import (
	"math"
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

const (
	// windowShare, windowLeast and windowMost say how many bytes may be asked of one
	// neighbour at a time: a share of the message. More makes near nodes the hubs of
	// all others, less leaves lines idle.
	windowShare = 15
	windowLeast = 64 << 10
	windowMost  = 512 << 10
	// usualRTT is the round trip of which these are, and what is taken for that of a
	// neighbour of which it is not known.
	usualRTT = 100 * time.Millisecond
	// fullTime is how much later a chunk is expected of a neighbour that is asked for a
	// full window, promiseTime of one that has only promised it.
	fullTime    = 100 * time.Millisecond
	promiseTime = 50 * time.Millisecond
)

// window is how many bytes may be asked of a neighbour at a time, or sent to it unasked.
// Only so much is on its way on one connection, so what is twice as far away brings half
// as much in the same time, and is asked for half as much.
func (m *Message) window(l *edge, usable int) int {
	w := min(max(m.Manifest.Size/max(1, min(windowShare, usable+usable/2)), windowLeast), windowMost)
	near := min(max(float64(usualRTT)/float64(l.p.far()), .5), 2)
	return int(float64(w)*near) + l.grown
}

// far is the round trip to a neighbour, as far as it is known.
func (p *neighbour) far() time.Duration {
	if p.rtt == 0 {
		return usualRTT
	}
	return p.rtt
}

// expected is when a chunk may come that a neighbour is asked for now: a holder answers,
// what was promised is here half a round trip after it is there.
func (m *Message) expected(l *edge, has bool, usable int) time.Duration {
	d := l.p.far() + fullTime*time.Duration(l.out)/time.Duration(m.window(l, usable))
	if !has {
		d += promiseTime - l.p.far()/2
	}
	return d
}

// usable is how many neighbours may have the message sooner or later.
func (s *State) usable(m *Message) (n int) {
	for _, p := range s.order {
		if p.snub(s.now) || p.suspect {
			continue
		}
		if most, ok := p.takes[m.Manifest.Type]; ok && m.Manifest.Size <= most {
			n++
		}
	}
	return n
}

// candidate is a chunk that may be asked for.
type candidate struct{ key, c int }

// choose asks for what is missing: what the fewest offer first, of the one of whom it is
// expected first. Nothing is asked of two at a time.
func (s *State) choose(m *Message) {
	if m.state != fetching {
		return
	}
	usable := s.usable(m)
	var cs []candidate
	for c := range m.k {
		if m.have.Has(c) || m.asked[c] != nil {
			continue
		}
		n := 0
		for _, l := range m.edges {
			if ok, _ := l.offers(c); ok {
				n++
			}
		}
		if n > 0 {
			cs = append(cs, candidate{n<<16 + s.rng.IntN(1<<16), c})
		}
	}
	slices.SortFunc(cs, func(a, b candidate) int { return a.key - b.key })
	wants := make(map[*edge]*wire.Set)
	most, asked := s.meter.allowed(s.now), s.asked()
	idle := s.now.Sub(m.lastChunk) >= suspectAfter
	for _, x := range cs {
		size := m.size(x.c)
		if asked > 0 && asked+size > most {
			m.lookAt = s.now.Add(lookEvery)
			break
		}
		var best *edge
		soonest := time.Duration(math.MaxInt64)
		for _, l := range m.edges {
			ok, has := l.offers(x.c)
			// What wants it from here does not have it.
			if !ok || l.flags[x.c]&fWant != 0 || l.p.snub(s.now) || l.p.suspect && !idle || l.out > 0 && l.out+size > m.window(l, usable) {
				continue
			}
			if d := m.expected(l, has, usable) + time.Duration(s.rng.IntN(int(time.Millisecond))); d < soonest {
				best, soonest = l, d
			}
		}
		if best == nil {
			continue
		}
		s.ask(best, x.c)
		if best.p.proven {
			asked += size
		}
		if wants[best] == nil {
			wants[best] = new(wire.Set)
		}
		wants[best].Add(x.c)
	}
	for _, l := range slices.Clone(m.edges) {
		set := wants[l]
		if set == nil {
			continue
		}
		f := l.ref(wire.Want)
		f.Chunks = *set
		s.say(l.p, f)
		for c := range set.All() {
			s.promise(m, c)
		}
	}
}

// asked is how many bytes are asked for and on their way: of neighbours that deliver, for
// messages that come.
func (s *State) asked() (n int) {
	for _, m := range s.list {
		if m.state < validating && !m.idle(s.now, idleTime) {
			for _, l := range m.edges {
				if l.p.proven {
					n += l.out
				}
			}
		}
	}
	return n
}

// ask notes that a neighbour is to deliver a chunk.
func (s *State) ask(l *edge, c int) {
	m := l.m
	size := m.size(c)
	if l.out == 0 {
		l.heard = s.now
	}
	l.out += size
	l.flags[c] |= fAsked
	m.asked[c], m.askedAt[c] = l, s.now
	if m.lookAt.IsZero() {
		m.lookAt = s.now.Add(lookEvery)
	}
}

// release takes a request off the books.
func (s *State) release(m *Message, c int) {
	if l := m.asked[c]; l != nil {
		l.out -= m.size(c)
		m.asked[c] = nil
	}
}

// unask takes all requests off a neighbour, without a word. It tells which.
func (s *State) unask(l *edge) (set wire.Set) {
	for c, q := range l.m.asked {
		if q == l {
			s.release(l.m, c)
			set.Add(c)
		}
	}
	return set
}

// cancel takes a request away from a neighbour.
func (s *State) cancel(l *edge, set wire.Set) {
	if set.Empty() || l.p.banned {
		return
	}
	f := l.ref(wire.Cancel)
	f.Chunks = set
	s.say(l.p, f)
}

// meter measures the download, to bound what is asked of all together: the own line
// must stay short for what matters more.
type meter struct {
	began time.Time // of the interval
	bytes int       // in it
	best  [8]int    // of the intervals before it
	next  int
	any   bool
}

const (
	meterInterval = 250 * time.Millisecond
	// askFirst is how many bytes are asked for in all before the line was measured,
	// askLeast how many at least. What is asked of those that have delivered nothing yet
	// does not count, nor for a message of which nothing has come in idleTime: they may
	// never do, and it may never come.
	idleTime = time.Second
	askFirst = 1 << 20
	askLeast = 1 << 20
	// askAhead is how much time of the line may be asked for.
	askAhead = 400 * time.Millisecond
)

func (t *meter) add(now time.Time, n int) {
	if now.Sub(t.began) >= meterInterval {
		if !t.began.IsZero() {
			t.best[t.next] = t.bytes
			t.next = (t.next + 1) % len(t.best)
			t.any = true
		}
		t.began, t.bytes = now, 0
	}
	t.bytes += n
}

// allowed is how many bytes may be asked for.
func (t *meter) allowed(time.Time) int {
	if !t.any {
		return askFirst
	}
	best := t.bytes
	for _, b := range t.best {
		best = max(best, b)
	}
	return max(int(float64(best)*float64(askAhead)/float64(meterInterval)), askLeast)
}
