package testnet

import (
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
	key   laneKey
	draws draws

	queue    []segment // in the order of arrival; black-holed ones last
	size     int       // bytes of the window in use: written, not yet acknowledged
	unacked  int       // of those, read but the acknowledgment is cut off
	last     time.Time // arrival of the last segment
	stalled  time.Time // since when the sender has had no answer, for black-holed segments
	finished bool      // the writer's FIN is out
	busy     bool      // a Write is under way
}

type segment struct {
	data       []byte
	fin        bool
	leaves     time.Time // the sender's node
	arrives    time.Time
	lost       bool // had to be sent again
	blackholed bool // black-holed: arrives when the path has healed
}

func newFlow(n *Net, dialler, acceptor netip.AddrPort, from, to *node, ordinal uint64) *flow {
	f := &flow{net: n}
	f.ends[0] = end{addr: dialler, node: from, linger: true}
	f.ends[1] = end{addr: acceptor, node: to, linger: true}
	for i := range f.lanes {
		f.lanes[i].key = newLaneKey(n.seed, dialler.Addr(), acceptor.Addr(), ordinal, i)
	}
	return f
}

// sendLocked puts a segment on lane i, ready to leave at start.
func (f *flow) sendLocked(i int, s segment, start time.Time) {
	l, dst := &f.lanes[i], &f.ends[1-i]
	if f.blockedLocked(i) {
		if l.stalled.IsZero() {
			l.stalled = start
		}
		s.blackholed = true
		f.queueLocked(i, s)
		return
	}
	s.blackholed = false
	s.leaves = f.ends[i].node.reserveUp(start, len(s.data))
	d, lost := l.delay(l.link, s.leaves, len(s.data), f.net.maxRTO)
	s.lost = s.lost || lost
	s.arrives = s.leaves.Add(d)
	if s.arrives.Before(l.last) {
		s.arrives = l.last
	}
	s.arrives = dst.node.reserveDown(s.arrives, len(s.data))
	l.last = s.arrives
	if dst.deadAt(s.arrives) {
		// Nobody is there: the machine answers with a reset, and acknowledges
		// nothing.
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

// blockedLocked reports whether a segment on lane i is black-holed: the lane is blocked,
// or the reset that would answer it is.
func (f *flow) blockedLocked(i int) bool {
	return f.lanes[i].blocked || f.ends[1-i].dead() && f.lanes[1-i].blocked
}
