package testnet

import "time"

// apply puts the flow on new paths. Calls that come late, with rules older than
// those applied, are ignored.
func (f *flow) apply(gen uint64, paths [2]path) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if gen < f.gen {
		return
	}
	f.gen = gen
	now := time.Now()
	for i := range f.lanes {
		was := f.lanes[i].path
		f.lanes[i].path = paths[i]
		if paths[i].blocked && !was.blocked {
			f.blackholeLocked(i, now)
		}
		if was.stopped && !paths[i].stopped {
			f.ends[1-i].readable.fire()
		}
	}
	for i := range f.lanes {
		if !f.lanes[1-i].blocked {
			f.lanes[i].size -= f.lanes[i].unacked
			f.lanes[i].unacked = 0
		}
		if !f.blockedLocked(i) {
			f.releaseLocked(i, now)
		}
	}
	// Readers need no word of the rest: a release wakes those who wait for it.
	for i := range f.ends {
		f.ends[i].writable.fire()
	}
}

// blackholeLocked takes what is in the air on lane i out of it, a reset too.
func (f *flow) blackholeLocked(i int, now time.Time) {
	l, dst := &f.lanes[i], &f.ends[1-i]
	if dst.reset.After(now) {
		dst.reset = time.Time{}
	}
	for k := range l.queue {
		s := &l.queue[k]
		if s.blackholed || !s.arrives.After(now) {
			continue
		}
		s.blackholed = true
		if l.stalled.IsZero() {
			l.stalled = now
		}
	}
	l.last = time.Time{}
}

// releaseLocked sends what is black-holed on lane i again, at the retransmission that
// is due next.
func (f *flow) releaseLocked(i int, now time.Time) {
	l := &f.lanes[i]
	first := 0
	for first < len(l.queue) && !l.queue[first].blackholed {
		first++
	}
	blackholed := append([]segment(nil), l.queue[first:]...)
	clear(l.queue[first:])
	l.queue = l.queue[:first]
	if len(blackholed) == 0 {
		return
	}
	start := retransmitAt(l.stalled, now, l.link.rto(), f.net.maxRTO)
	l.stalled = time.Time{}
	for _, s := range blackholed {
		s.lost = true
		f.sendLocked(i, s, start)
	}
}
