package dispatcher

// flags say what became of a message so far.
type flags uint8

const (
	fTaken flags = 1 << iota
	fDuplicate
	fFull
	fPanic
	fStopped
)

// do hands over up to budget messages, to each subscriber that has room for
// them, and reports whether there is more to do at once. Only the loop calls
// it.
func (r *room) do(budget int) (again bool) {
	entries := r.pull()
	limit := min(r.first+uint64(len(r.log.msgs)-r.head), r.front+uint64(budget))
	for _, e := range entries {
		if e.next < limit {
			r.advance(e, min(limit, e.next+uint64(budget)))
		}
	}
	r.front = limit
	r.settle(entries, limit)
	return r.publish(entries, limit)
}

// pull moves what was admitted to the log and returns the subscribers.
func (r *room) pull() []*entry {
	r.mu.Lock()
	r.pullLocked()
	entries, retired := r.entries, r.retired
	r.retired = nil
	for i := range r.groups {
		if g := &r.groups[i]; g.clear != 0 {
			if g.used == 0 {
				*g.flt = *newFilter(g.flt.limit) // gives the memory back
			} else {
				g.flt.forget(g.clear)
			}
			g.clear = 0
		}
	}
	r.mu.Unlock()
	for _, e := range retired {
		e.sink.retire(iDeregistered)
	}
	return entries
}

func (r *room) pullLocked() {
	if len(r.in.msgs) == 0 {
		return
	}
	if r.head == len(r.log.msgs) {
		r.log, r.in = r.in, r.log.empty()
		r.flags = r.flags[:0]
		r.head = 0
	} else {
		r.compact()
		if len(r.in.keys) > 0 {
			r.log.keys = append(padKeys(r.log.keys, len(r.log.msgs)), r.in.keys...)
		}
		r.log.msgs = append(r.log.msgs, r.in.msgs...)
		r.log.sizes = append(r.log.sizes, r.in.sizes...)
		clear(r.in.msgs)
		r.in = r.in.empty()
	}
	n := len(r.log.msgs)
	if cap(r.flags) < n {
		r.flags = append(make([]flags, 0, cap(r.log.msgs)), r.flags...)
	}
	was := len(r.flags)
	r.flags = r.flags[:n]
	clear(r.flags[was:])
	r.logSize += r.inBytes
	r.inBytes = 0
	r.backlog, r.backlogBytes = n-r.head, r.logSize
}

func (b batch) empty() batch { return batch{b.msgs[:0], b.sizes[:0], b.keys[:0]} }

// compact moves the log to the front of its memory when at least half of it is
// behind the head.
func (r *room) compact() {
	if 2*r.head < len(r.log.msgs) {
		return
	}
	n := copy(r.log.msgs, r.log.msgs[r.head:])
	clear(r.log.msgs[n:])
	r.log.msgs = r.log.msgs[:n]
	r.log.sizes = r.log.sizes[:copy(r.log.sizes, r.log.sizes[r.head:])]
	r.flags = r.flags[:copy(r.flags, r.flags[r.head:])]
	r.log.keys = r.log.keys[:copy(r.log.keys, r.log.keys[min(r.head, len(r.log.keys)):])]
	r.head = 0
}

// advance offers an entry what comes next for it, up to a position.
func (r *room) advance(e *entry, upto uint64) {
	if e.parked {
		if !e.signal.Swap(false) {
			return
		}
		e.parked = false
	}
	for e.next < upto && !e.parked {
		lo := r.head + int(e.next-r.first)
		hi := r.head + int(upto-r.first)
		if e.bit != 0 {
			hi = r.markFresh(e, lo, hi)
		}
		if hi == lo {
			r.flags[lo] |= fDuplicate
			e.round.duplicate++
			e.round.offered++
			e.next++
			continue
		}
		r.offer(e, lo, hi)
	}
}

// markFresh marks messages from lo on as taken by the entry, as far as they
// were not before, and returns the index of the first that was. The marks of
// those that are not taken in the end are removed again by offer. Stopping at
// the first duplicate makes sure that it is judged by what really became of
// the other copy, which may be in the same run.
func (r *room) markFresh(e *entry, lo, hi int) int {
	r.log.keys = padKeys(r.log.keys, len(r.log.msgs))
	for i := lo; i < hi; i++ {
		k := r.log.keys[i]
		if k == (key{}) {
			k = r.d.keyOf(r, r.log.msgs[i])
			r.log.keys[i] = k
		}
		if !e.flt.add(k, e.bit) {
			return i
		}
	}
	return hi
}

func (r *room) unmark(e *entry, lo, hi int) {
	if e.bit == 0 {
		return
	}
	for i := lo; i < hi; i++ {
		e.flt.remove(r.log.keys[i], e.bit)
	}
}

// offer offers the messages from lo to hi and leaves e.next after the last
// that was taken or dropped, which is hi unless the entry parks.
func (r *room) offer(e *entry, lo, hi int) {
	for lo < hi {
		panicked := r.call(e, lo, hi)
		lo = r.account(e, lo, hi, panicked)
		if e.parked {
			return
		}
	}
}

// account notes what an offer came to and returns where to go on.
func (r *room) account(e *entry, lo, hi int, panicked bool) int {
	for i := lo; i < lo+e.taken; i++ {
		r.flags[i] |= fTaken
	}
	lo += e.taken
	e.round.taken += uint64(e.taken)
	e.round.offered += uint64(e.taken)
	e.next += uint64(e.taken)
	e.taken = 0
	if e.evicts {
		for _, m := range e.sink.evicted() {
			e.flt.remove(r.d.keyOf(r, m), e.bit)
		}
	}
	if lo == hi {
		return lo
	}
	lost, mark, reason := lo+1, fFull, iSubscriberFull
	switch {
	case panicked:
		mark, reason = fPanic, iPanic
		e.round.panics++
		if _, all := e.sink.(batchSink); all {
			lost = hi
		}
	case e.lossless(), r.d.over.Load():
		r.unmark(e, lo, hi)
		e.parked = true
		return lo
	}
	r.unmark(e, lo, lost)
	for ; lo < lost; lo++ {
		r.flags[lo] |= mark
		e.round.drops[reason]++
		e.round.offered++
		e.next++
	}
	return lo
}

// call runs the sink, which may run code of another module. This is the place
// where its panics are recovered: once a run, so that it costs nothing per
// message.
func (r *room) call(e *entry, lo, hi int) (panicked bool) {
	returned := false
	defer func() {
		if returned {
			return
		}
		panicked = true
		p := recover()
		r.d.panicked(e.name, p)
		if p == nil {
			// runtime.Goexit: this goroutine ends here, and what account
			// would have done has to be done now. The loop starts anew.
			r.unmark(e, r.account(e, lo, hi, true), hi)
		}
	}()
	r.d.delivering.Store(e)
	e.sink.offer(r.log.msgs[lo:hi], r.log.sizes[lo:hi], &e.taken)
	returned = true
	return false
}

// settle accounts for the messages that every entry has been offered, and
// forgets them.
func (r *room) settle(entries []*entry, limit uint64) {
	upto := limit
	for _, e := range entries {
		upto = min(upto, e.next)
	}
	n := int(upto - r.first)
	for i := r.head; i < r.head+n; i++ {
		switch f := r.flags[i]; {
		case f&fTaken != 0:
			r.round.delivered++
		case f&fPanic != 0:
			r.round.drops[iPanic]++
		case f&fStopped != 0:
			r.round.drops[iStopped]++
		case f&fFull != 0:
			r.round.drops[iSubscriberFull]++
		case f&fDuplicate != 0:
			r.round.duplicate++
		default:
			r.round.unrouted++
		}
	}
	r.trim(n)
}

// trim drops the first n messages of the log.
func (r *room) trim(n int) {
	if r.head+n == len(r.log.msgs) {
		r.logSize = 0
	} else {
		for _, size := range r.log.sizes[r.head : r.head+n] {
			r.logSize -= int(size)
		}
	}
	clear(r.log.msgs[r.head : r.head+n])
	r.head += n
	r.first += uint64(n)
}

// publish makes the round's counts visible, lets publishers in, and reports
// whether there is more to do.
func (r *room) publish(entries []*entry, limit uint64) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done.add(&r.round)
	r.round = roomCounts{}
	r.backlog, r.backlogBytes = len(r.log.msgs)-r.head, r.logSize
	for _, e := range entries {
		e.total.add(&e.round)
		e.round = entryCounts{}
	}
	r.grantLocked()
	again = len(r.in.msgs) > 0 || len(r.retired) > 0 || r.front < r.first+uint64(r.backlog)
	for _, e := range entries {
		if e.next < limit && (!e.parked || e.signal.Load()) {
			again = true
		}
	}
	r.scheduled = again
	return again
}
