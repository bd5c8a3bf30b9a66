package sched

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

const (
	// fetchMost is how many messages are fetched at once, fetchPeer how many of them
	// that were first heard of from one neighbour.
	fetchMost = 8
	fetchPeer = 2
	// waitMost is how many messages wait for space, waitPeer how many of one neighbour.
	waitMost = 32
	waitPeer = 8
	// yieldTime is how long a message of which nothing has come keeps others waiting.
	yieldTime = 5 * time.Second
	// stallTime is how long a message is kept of which no chunk comes.
	stallTime = 30 * time.Second
	// waitTime is how long one may wait for space.
	waitTime = 5 * time.Minute
	// serveTime is how long a message is served after it was whole. As long as a neighbour
	// that was told of it does not have it, over a slow line say, that goes on, for
	// serveMost in all. The memory may be needed earlier.
	serveTime = time.Minute
	serveMost = 10 * time.Minute
	// refusedTime is how long a message that was refused, or had, is remembered.
	refusedTime = 10 * time.Minute
	pastMost    = 4096
	// gather is how long what is to be announced is collected.
	gather = 10 * time.Millisecond
	// lookEvery is how often requests are looked at.
	lookEvery = 50 * time.Millisecond
	// validateAgain is how long after it was turned away a message is offered again; the
	// time doubles up to validateMost.
	validateAgain = 500 * time.Millisecond
	validateMost  = 8 * time.Second
)

// Config of a State.
type Config struct {
	// Memory bounds the bytes of all messages that are fetched or served, and once more
	// that of own ones. It must hold the largest.
	Memory int
}

// State is all that is known. Make one with New.
type State struct {
	cfg Config
	rng *rand.Rand
	now time.Time
	out []Effect

	specs map[string]*Spec
	peers map[peer.ID]*neighbour
	order []*neighbour // of peers, as they came

	msgs   map[wire.Sum]*Message
	list   []*Message // of msgs, as they came
	digest map[wire.Sum]*Message
	past   past
	heads  map[wire.Sum]int // messages taken under a header, of those in list and past
	bad    map[string]*strikes

	used, own int // bytes
	meter     meter
	counts    map[string]*Counts
}

// New makes an empty State.
func New(cfg Config, rng *rand.Rand) *State {
	return &State{
		cfg: cfg, rng: rng,
		specs:  make(map[string]*Spec),
		peers:  make(map[peer.ID]*neighbour),
		msgs:   make(map[wire.Sum]*Message),
		digest: make(map[wire.Sum]*Message),
		past:   past{at: make(map[wire.Sum]*bygone)},
		heads:  make(map[wire.Sum]int),
		bad:    make(map[string]*strikes),
		counts: make(map[string]*Counts),
	}
}

// Step takes an event, and returns what is to be done about it.
func (s *State) Step(ev Event, now time.Time) []Effect {
	s.now, s.out = now, nil
	switch ev.Kind {
	case Wake:
		s.awake()
	case Takes:
		s.takes(ev.Peer, ev.Takes)
	case Down:
		s.down(ev.Peer)
	case TakesOf:
		s.takesOf(ev.Peer, ev.Type, ev.Most)
	case Path:
		if p := s.peers[ev.Peer]; p != nil {
			p.rtt = ev.RTT
		}
	case Declare:
		s.declare(ev.Spec)
	case Retract:
		s.retract(ev.Type)
	case Publish:
		s.publish(ev)
	case Received:
		s.received(ev)
	case Heard:
		s.heard(ev)
	case Pull:
		s.pull(ev.Peer)
	case Checked:
		s.checked(ev)
	case Validated:
		s.validated(ev)
	case Joined:
		if m := s.msgs[ev.ID]; m != nil && m.n == m.k {
			m.whole, m.data = ev.Data, nil
		}
	case Resume:
		s.resume(ev.Key)
	}
	return s.out
}

func (s *State) do(e Effect) { s.out = append(s.out, e) }

func (s *State) say(p *neighbour, f *wire.Frame) {
	s.do(Effect{Kind: Say, Peer: p.id, Frame: f})
}

// Wake is when the next Wake event is due; zero: not before something happens.
func (s *State) Wake() (at time.Time) {
	by := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, m := range s.list {
		by(m.flushAt)
		by(m.lookAt)
		by(m.dueAt)
	}
	return at
}

// awake does what time has brought.
func (s *State) awake() {
	for _, m := range slices.Clone(s.list) {
		if due(m.flushAt, s.now) {
			s.flush(m)
		}
		if due(m.lookAt, s.now) {
			s.look(m)
		}
		if due(m.dueAt, s.now) {
			s.fallDue(m)
		}
	}
	s.past.expire(s)
	s.admit()
}

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// takes notes a peer, or that it takes other types now.
func (s *State) takes(id peer.ID, types map[string]int) {
	p := s.peers[id]
	if p == nil {
		p = newNeighbour(id)
		s.peers[id] = p
		s.order = append(s.order, p)
	}
	p.takes = maps.Clone(types)
	for _, m := range s.list {
		if m.shown() {
			s.tellNew(m, s.edge(m, p))
		}
	}
}

// takesOf notes that a peer takes another size of one type. A peer may say so thousands
// of times a second: it costs no more than that type does.
func (s *State) takesOf(id peer.ID, typ string, most int) {
	p := s.peers[id]
	switch {
	case p == nil:
		return
	case most <= 0:
		delete(p.takes, typ)
		return
	case p.takes == nil:
		p.takes = make(map[string]int)
	}
	p.takes[typ] = most
	for _, m := range s.list {
		if m.Manifest.Type == typ && m.shown() {
			s.tellNew(m, s.edge(m, p))
		}
	}
}

func (s *State) down(id peer.ID) {
	p := s.peers[id]
	if p == nil {
		return
	}
	delete(s.peers, id)
	s.order = slices.DeleteFunc(s.order, func(o *neighbour) bool { return o == p })
	for _, l := range p.edges {
		s.unask(l)
		l.m.edges = slices.DeleteFunc(l.m.edges, func(o *edge) bool { return o == l })
	}
	for _, l := range p.edges {
		s.choose(l.m)
		s.seeded(l.m)
	}
}

func (s *State) declare(spec *Spec) {
	s.specs[spec.Type] = spec
	s.admit()
}

func (s *State) retract(typ string) {
	delete(s.specs, typ)
	for _, m := range slices.Clone(s.list) {
		if m.Manifest.Type == typ {
			s.forget(m, wire.Refused, false)
		}
	}
	delete(s.counts, typ)
	s.admit()
}

// fallDue acts on a message whose time has come.
func (s *State) fallDue(m *Message) {
	switch m.state {
	case waiting, fetching:
		s.countOf(m).Stalled++
		s.forget(m, wire.Dropped, false)
	case deferred:
		s.countOf(m).Expired++
		s.forget(m, wire.Dropped, false)
	case awaitsRelay:
		s.forget(m, wire.Dropped, true)
	case validating:
		m.dueAt = time.Time{}
		s.validate(m)
	case serving:
		for _, l := range m.edges {
			if due(l.againAt, s.now) {
				l.againAt = time.Time{}
				s.tell(m, l, nil)
			}
		}
		s.seeded(m)
		if !s.now.Before(m.until) && m.missed() && s.now.Sub(m.Began) < serveMost {
			m.until = s.now.Add(serveTime)
		}
		if !s.now.Before(m.until) {
			s.forget(m, wire.Dropped, true)
			return
		}
		m.dueAt = m.nextDue(s.now)
	}
}

// checked takes the verdict on a header.
func (s *State) checked(ev Event) {
	m := s.msgs[ev.ID]
	if m == nil || m.state != checking {
		return
	}
	switch ev.Verdict {
	case Accept:
		m.cut = !s.distrusts(m.Manifest.Type)
		s.fetch(m)
	case Defer:
		m.state, m.key = deferred, ev.Key
		wait := time.Minute
		if spec := s.specs[m.Manifest.Type]; spec != nil && spec.HeaderWait > 0 {
			wait = spec.HeaderWait
		}
		m.dueAt = s.now.Add(wait)
	case Reject:
		s.countOf(m).Refused++
		for _, l := range m.edges {
			if l.known {
				s.do(Effect{Kind: Blame, Peer: l.p.id, Fault: FaultRefused, Msg: m})
			}
		}
		s.forget(m, wire.Refused, true)
	default:
		s.countOf(m).Refused++
		s.forget(m, wire.Refused, true)
	}
	s.admit()
}

func (s *State) resume(key string) {
	for _, m := range s.list {
		if m.state == deferred && m.key == key {
			m.state, m.dueAt = checking, time.Time{}
			s.do(Effect{Kind: Check, Msg: m})
		}
	}
}

// validated takes the verdict on a whole message.
func (s *State) validated(ev Event) {
	m := s.msgs[ev.ID]
	if m == nil || m.state != validating && m.state != awaitsRelay {
		return
	}
	switch ev.Verdict {
	case Accept:
		s.serve(m)
	case AwaitRelay:
		m.state, m.dueAt = awaitsRelay, s.now.Add(serveTime)
	case Defer: // the application comes back to it
		m.dueAt = time.Time{}
	case Later:
		m.dueAt = s.now.Add(min(validateAgain<<min(m.offers, 10), validateMost))
		m.offers++
	case Reject:
		if m.cut {
			s.strike(m.Manifest.Type)
			s.do(Effect{Kind: Invalid, Msg: m})
		}
		s.forget(m, wire.Refused, true)
	default:
		s.forget(m, wire.Refused, true)
	}
	s.admit()
}
