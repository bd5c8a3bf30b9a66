package discovery

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxPending bounds the peers waiting to be asked after a meeting; more sessions
// at once are left to the periodic ask.
const maxPending = 1024

// pauses stand between the asks after a meeting. What the first ask misses,
// because identify has not run everywhere, the second finds as a rule.
var pauses = []time.Duration{
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
}

// soonest is the time between two asks of anyone when there is something to learn.
const soonest = 5 * time.Second

// anyone stands for a random session peer.
const anyone = peer.ID("")

// schedule decides whom to ask and when. It has no clock, no goroutine and no
// lock of its own.
type schedule struct {
	interval time.Duration
	jitter   func(time.Duration) time.Duration
	pending  map[peer.ID]*asks
	periodic time.Time // next ask of anyone
	// wait is the time between two of them: soonest after one that brought somebody
	// new or the loss of a peer, twice as long after each that did not, up to interval.
	wait time.Duration
}

// asks is where a peer stands after a meeting.
type asks struct {
	asked int // times asked since the meeting
	at    time.Time
	busy  bool // an ask is under way
	again bool // met again meanwhile
}

func newSchedule(now time.Time, interval time.Duration, jitter func(time.Duration) time.Duration) *schedule {
	return &schedule{
		interval: interval, jitter: jitter,
		pending:  make(map[peer.ID]*asks),
		periodic: now.Add(jitter(interval)), wait: interval,
	}
}

// met starts the asks of p from the first one.
func (s *schedule) met(now time.Time, p peer.ID) {
	t := s.pending[p]
	switch {
	case t == nil && len(s.pending) >= maxPending:
	case t == nil:
		s.pending[p] = &asks{at: now}
	case t.busy:
		t.again = true
	default:
		*t = asks{at: now}
	}
}

// parted brings the next ask of anyone forward: a place is free.
func (s *schedule) parted(now time.Time) {
	s.wait = min(soonest, s.interval)
	if soon := now.Add(s.jitter(s.wait)); soon.Before(s.periodic) {
		s.periodic = soon
	}
}

// take returns at most free peers whose time has come; done must follow for
// each of them.
func (s *schedule) take(now time.Time, free int) []peer.ID {
	var due []peer.ID
	for p, t := range s.pending { // in random order: nobody is starved
		if len(due) == free {
			return due
		}
		if !t.busy && !now.Before(t.at) {
			t.busy = true
			due = append(due, p)
		}
	}
	if len(due) < free && !now.Before(s.periodic) {
		s.periodic = now.Add(s.jitter(s.wait))
		due = append(due, anyone)
	}
	return due
}

// done ends an ask of p. fresh tells that it brought somebody new.
func (s *schedule) done(now time.Time, p peer.ID, fresh bool) {
	if p == anyone {
		s.wait = min(2*s.wait, s.interval)
		if fresh {
			s.wait = min(soonest, s.interval)
		}
		s.periodic = now.Add(s.jitter(s.wait))
		return
	}
	t := s.pending[p]
	switch {
	case t == nil:
	case t.again:
		*t = asks{at: now}
	case t.asked == len(pauses):
		delete(s.pending, p)
	default:
		t.busy = false
		t.at = now.Add(s.jitter(pauses[t.asked]))
		t.asked++
	}
}

// next returns when take will have something, if any are free.
func (s *schedule) next() time.Time {
	at := s.periodic
	for _, t := range s.pending {
		if !t.busy && t.at.Before(at) {
			at = t.at
		}
	}
	return at
}
