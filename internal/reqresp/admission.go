package reqresp

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// decision is what becomes of a call that has come in.
type decision int

const (
	runs decision = iota
	waits
	refused
)

// admission decides which calls of one method run, which wait and which are
// refused. Waiting peers take turns, one call each, however many they have. It
// has no lock and no clock of its own.
type admission struct {
	concurrency, perPeer, queue, peerQueue int

	running, waiting int
	peers            map[peer.ID]*share
	turns            []*share // of peers with calls that wait
	pace             time.Duration
}

// share is what one peer has of a method.
type share struct {
	peer    peer.ID
	running int
	queue   []*served
}

func newAdmission(s Spec) *admission {
	return &admission{
		concurrency: s.Concurrency, perPeer: s.PerPeer, queue: s.Queue, peerQueue: s.PeerQueue,
		peers: make(map[peer.ID]*share),
	}
}

// enter takes a call in. One that runs has to leave; one that waits, too, once
// leave has returned it, or has to be withdrawn.
func (a *admission) enter(p peer.ID, k *served) decision {
	s := a.peers[p]
	if s == nil {
		s = &share{peer: p}
	}
	switch {
	case a.running < a.concurrency && s.running < a.perPeer:
		a.running++
		s.running++
		a.peers[p] = s
		return runs
	case a.waiting >= a.queue || len(s.queue) >= a.peerQueue:
		return refused
	}
	a.waiting++
	s.queue = append(s.queue, k)
	a.peers[p] = s
	if len(s.queue) == 1 {
		a.turns = append(a.turns, s)
	}
	return waits
}

// leave ends a call of p that ran for so long, and returns the one that runs now
// in its place, if any.
func (a *admission) leave(p peer.ID, ran time.Duration) *served {
	a.running--
	s := a.peers[p]
	s.running--
	a.tidy(s)
	a.pace += (ran - a.pace) / 8
	// One place is free, and what could have run before runs already: so at most
	// one call starts.
	for i, s := range a.turns {
		if s.running >= a.perPeer {
			continue
		}
		k := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		a.turns = append(a.turns[:i], a.turns[i+1:]...)
		if len(s.queue) > 0 {
			a.turns = append(a.turns, s)
		}
		a.waiting--
		a.running++
		s.running++
		return k
	}
	return nil
}

// withdraw takes a waiting call out. It is false when it does not wait any more.
func (a *admission) withdraw(p peer.ID, k *served) bool {
	s := a.peers[p]
	if s == nil {
		return false
	}
	for i, w := range s.queue {
		if w != k {
			continue
		}
		s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
		a.waiting--
		if len(s.queue) == 0 {
			for j, t := range a.turns {
				if t == s {
					a.turns = append(a.turns[:j], a.turns[j+1:]...)
					break
				}
			}
		}
		a.tidy(s)
		return true
	}
	return false
}

func (a *admission) tidy(s *share) {
	if s.running == 0 && len(s.queue) == 0 {
		delete(a.peers, s.peer)
	}
}

// retryAfter guesses when a call that is refused now would be taken: when as
// many have been answered as wait.
func (a *admission) retryAfter() time.Duration {
	d := a.pace * time.Duration(a.waiting+1) / time.Duration(max(a.concurrency, 1))
	return min(max(d, 10*time.Millisecond), 5*time.Second)
}

// quota bounds what all methods together have taken in, in calls and bytes.
type quota struct {
	maxCalls, maxPeerCalls, maxBytes, maxPeerBytes int

	calls, bytes int
	peers        map[peer.ID]*booked
}

type booked struct{ calls, bytes int }

// enter takes a call in, if its peer and all peers hold less than they may.
func (q *quota) enter(p peer.ID) bool {
	h := q.peers[p]
	if h == nil {
		h = new(booked)
	}
	if q.calls >= q.maxCalls || h.calls >= q.maxPeerCalls || q.bytes >= q.maxBytes || h.bytes >= q.maxPeerBytes {
		return false
	}
	q.calls++
	h.calls++
	q.peers[p] = h
	return true
}

// book books bytes of a call that has entered.
func (q *quota) book(p peer.ID, bytes int) {
	q.bytes += bytes
	q.peers[p].bytes += bytes
}

// fits tells whether that many bytes more would be within bounds.
func (q *quota) fits(p peer.ID, bytes int) bool {
	return q.bytes+bytes <= q.maxBytes && q.peers[p].bytes+bytes <= q.maxPeerBytes
}

// leave ends a call that holds so many bytes.
func (q *quota) leave(p peer.ID, bytes int) {
	h := q.peers[p]
	q.calls--
	h.calls--
	q.bytes -= bytes
	h.bytes -= bytes
	if h.calls == 0 {
		delete(q.peers, p)
	}
}
