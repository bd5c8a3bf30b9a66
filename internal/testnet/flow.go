package testnet

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// flow is a connection: two ends, and a lane from each to the other. Lane i
// carries what end i writes.
type flow struct {
	net *Net
	id  uint64 // in order of attachment; set by Net.attach

	mu    sync.Mutex // guards the fields below; never held while waiting
	gen   uint64     // of the rules applied last
	ends  [2]end
	lanes [2]lane
}

// end is one side of a flow. addr and node are constant.
type end struct {
	addr netip.AddrPort
	node *node

	closed bool      // Close was called
	gone   bool      // the process died
	linger bool      // Close sends what is queued; else it resets
	reset  time.Time // when a reset reaches this end; zero is never

	readDeadline, writeDeadline time.Time
	readable, writable          signal
}

func (e *end) dead() bool { return e.closed || e.gone }

// deadAt reports whether what reaches the end at t finds no connection.
func (e *end) deadAt(t time.Time) bool {
	return e.dead() || !e.reset.IsZero() && !t.Before(e.reset)
}

// lane is one direction of a flow.
type lane struct {
	path
	rng *rand.Rand

	queue    []segment // in the order of arrival; held ones last
	size     int       // bytes of the window in use: written, not yet acknowledged
	unacked  int       // of those, read but the acknowledgment is cut off
	last     time.Time // arrival of the last segment
	stalled  time.Time // since when the sender has had no answer, for held segments
	finished bool      // the writer's FIN is out
	busy     bool      // a Write is under way
}

type segment struct {
	data    []byte
	fin     bool
	leaves  time.Time // the sender's node
	arrives time.Time
	lost    bool // had to be sent again
	held    bool // black-holed: arrives when the path has healed
}

func newFlow(n *Net, dialler, acceptor netip.AddrPort, from, to *node, ordinal uint64) *flow {
	f := &flow{net: n}
	f.ends[0] = end{addr: dialler, node: from, linger: true}
	f.ends[1] = end{addr: acceptor, node: to, linger: true}
	for i := range f.lanes {
		f.lanes[i].rng = laneRand(n.seed, dialler.Addr(), acceptor.Addr(), ordinal, i)
	}
	return f
}

// sendLocked puts a segment on lane i, ready to leave at start.
func (f *flow) sendLocked(i int, s segment, start time.Time) {
	l, dst := &f.lanes[i], &f.ends[1-i]
	if f.heldLocked(i) {
		if l.stalled.IsZero() {
			l.stalled = start
		}
		s.held = true
		f.queueLocked(i, s)
		return
	}
	s.held = false
	s.leaves = f.ends[i].node.reserveUp(start, len(s.data))
	d, lost := l.link.delay(l.rng, f.net.maxRTO)
	s.lost = s.lost || lost
	s.arrives = s.leaves.Add(d)
	if s.arrives.Before(l.last) {
		s.arrives = l.last
	}
	s.arrives = dst.node.reserveDown(s.arrives, len(s.data))
	l.last = s.arrives
	if dst.deadAt(s.arrives) {
		// Nobody is there: the machine answers with a reset.
		l.size -= len(s.data)
		f.sendResetLocked(1-i, s.arrives)
		return
	}
	f.queueLocked(i, s)
}

// queueLocked appends to lane i. A reader waits for the first segment only, so
// further ones need not wake it.
func (f *flow) queueLocked(i int, s segment) {
	l := &f.lanes[i]
	l.queue = append(l.queue, s)
	if len(l.queue) == 1 {
		f.ends[1-i].readable.fire()
	}
}

// heldLocked reports whether a segment on lane i is held: the lane is blocked,
// or the reset that would answer it is.
func (f *flow) heldLocked(i int) bool {
	return f.lanes[i].blocked || f.ends[1-i].dead() && f.lanes[1-i].blocked
}

// sendResetLocked sends a reset along lane i at t. A blocked lane loses it.
func (f *flow) sendResetLocked(i int, t time.Time) {
	l, dst := &f.lanes[i], &f.ends[1-i]
	if l.blocked || dst.dead() {
		return
	}
	d := l.link.Latency
	if l.link.Jitter > 0 {
		d += time.Duration(l.rng.Int64N(int64(l.link.Jitter)))
	}
	at := t.Add(d)
	// It follows what left before it, though it does not wait for a
	// retransmission: what is still to come then finds the connection gone.
	for _, s := range l.queue {
		if s.lost || s.held || s.leaves.After(t) {
			break
		}
		if s.arrives.After(at) {
			at = s.arrives
		}
	}
	f.resetEndLocked(1-i, at)
}

// resetEndLocked makes end i learn of a reset at t.
func (f *flow) resetEndLocked(i int, t time.Time) {
	e := &f.ends[i]
	if e.dead() || !e.reset.IsZero() && !t.Before(e.reset) {
		return
	}
	if e.reset.IsZero() {
		e.node.resets.Add(1)
	}
	e.reset = t
	in := &f.lanes[1-i]
	keep := 0
	for keep < len(in.queue) && !in.queue[keep].held && !in.queue[keep].arrives.After(t) {
		keep++
	}
	f.truncateLocked(1-i, keep)
	e.readable.fire()
	e.writable.fire()
}

// truncateLocked drops all but the first keep segments of lane i.
func (f *flow) truncateLocked(i, keep int) {
	l := &f.lanes[i]
	for _, s := range l.queue[keep:] {
		l.size -= len(s.data)
	}
	clear(l.queue[keep:])
	l.queue = l.queue[:keep]
}

// resetBoth ends the flow at both ends at once.
func (f *flow) resetBoth() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.resetEndLocked(0, now)
	f.resetEndLocked(1, now)
}

// closeEnd is Close of end i; hard makes it a reset. It reports false when the
// end was dead before.
func (f *flow) closeEnd(i int, hard bool) bool {
	f.mu.Lock()
	e, in, out := &f.ends[i], &f.lanes[1-i], &f.lanes[i]
	if e.dead() {
		f.mu.Unlock()
		return false
	}
	now := time.Now()
	hard = hard || !e.linger || f.unreadLocked(1-i, now)
	wasReset := !e.reset.IsZero() && !now.Before(e.reset)
	e.closed = true
	switch {
	case wasReset:
	case hard:
		f.dropUnsentLocked(i, now)
		f.sendResetLocked(i, now)
	case !out.finished:
		out.finished = true
		f.sendLocked(i, segment{fin: true}, now)
	}
	f.abandonLocked(1-i, in)
	f.finishEndLocked(i)
	return true
}

// vanish ends the end of f that is on nd with its process: telling resets the
// other end, otherwise there is silence.
func (f *flow) vanish(nd *node, telling bool) {
	f.mu.Lock()
	both := f.ends[0].node == f.ends[1].node
	now := time.Now()
	for i := range f.ends {
		e := &f.ends[i]
		if e.node != nd || e.dead() {
			continue
		}
		e.gone = true
		f.dropUnsentLocked(i, now)
		if telling && !both {
			f.sendResetLocked(i, now)
		}
		f.abandonLocked(1-i, &f.lanes[1-i])
		e.readable.fire()
		e.writable.fire()
		e.node.conns.Add(-1)
	}
	over := f.ends[0].dead() && f.ends[1].dead()
	f.mu.Unlock()
	if over {
		f.net.forget(f)
	}
}

// finishEndLocked does what the closing of end i leaves to do, and unlocks.
func (f *flow) finishEndLocked(i int) {
	e := &f.ends[i]
	e.readable.fire()
	e.writable.fire()
	e.node.conns.Add(-1)
	over := f.ends[1-i].dead()
	f.mu.Unlock()
	if over {
		f.net.forget(f)
	}
}

// unreadLocked reports whether data has arrived on lane i that nobody has read.
func (f *flow) unreadLocked(i int, now time.Time) bool {
	q := f.lanes[i].queue
	return len(q) > 0 && !q[0].fin && !q[0].held && !q[0].arrives.After(now)
}

// dropUnsentLocked drops what has not left end i's node.
func (f *flow) dropUnsentLocked(i int, now time.Time) {
	q := f.lanes[i].queue
	keep := 0
	for keep < len(q) && !q[keep].held && !q[keep].leaves.After(now) {
		keep++
	}
	f.truncateLocked(i, keep)
}

// abandonLocked empties lane i, whose reader has died. The first data that was
// still to come will be answered by a reset; what is held stays, for its sender
// goes on trying.
func (f *flow) abandonLocked(i int, l *lane) {
	q := l.queue
	now := time.Now()
	kept := q[:0]
	for _, s := range q {
		switch {
		case s.held:
			kept = append(kept, s)
			continue
		case f.lanes[1-i].blocked && s.arrives.After(now):
			// It will arrive, but the answer cannot come back.
			s.held = true
			if l.stalled.IsZero() {
				l.stalled = s.leaves
			}
			kept = append(kept, s)
			continue
		case s.arrives.After(now):
			f.sendResetLocked(1-i, s.arrives)
		}
		l.size -= len(s.data)
	}
	clear(q[len(kept):])
	l.queue = kept
	f.ends[i].writable.fire()
}
