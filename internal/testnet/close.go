package testnet

import "time"

// closeEnd is Close of end i; hard makes it a reset. It reports false when the
// end was dead before.
func (f *flow) closeEnd(i int, hard bool) bool {
	f.mu.Lock()
	e, out := &f.ends[i], &f.lanes[i]
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
	f.abandonLocked(1 - i)
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
		f.abandonLocked(1 - i)
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
	return len(q) > 0 && !q[0].fin && !q[0].blackholed && !q[0].arrives.After(now)
}

// dropUnsentLocked drops what has not left end i's node.
func (f *flow) dropUnsentLocked(i int, now time.Time) {
	q := f.lanes[i].queue
	keep := 0
	for keep < len(q) && !q[keep].blackholed && !q[keep].leaves.After(now) {
		keep++
	}
	f.truncateLocked(i, keep)
}

// abandonLocked empties lane i, whose reader has died. The first data that was
// still to come will be answered by a reset; what is black-holed stays, for its sender
// goes on trying. Nothing of it is acknowledged any more.
func (f *flow) abandonLocked(i int) {
	l := &f.lanes[i]
	now := time.Now()
	kept := l.queue[:0]
	for _, s := range l.queue {
		coming := s.arrives.After(now)
		switch {
		case s.blackholed:
			kept = append(kept, s)
		case coming && f.lanes[1-i].blocked:
			// It will arrive, but the answer cannot come back.
			s.blackholed = true
			if l.stalled.IsZero() {
				l.stalled = s.leaves
			}
			kept = append(kept, s)
		case coming:
			f.sendResetLocked(1-i, s.arrives)
		}
	}
	clear(l.queue[len(kept):])
	l.queue = kept
}
