package dispatcher

import "slices"

// hand offers every entry that has room what comes next for it, up to limit
// and at most budget messages. Those that want duplicates filtered and stand at
// the same message go on together, so that the filter is asked once for all.
func (r *room) hand(entries []*entry, limit, budget uint64) {
	for i, e := range entries {
		if e.next >= limit || !e.unpark() || e.stepped {
			continue
		}
		upto := min(limit, e.next+budget)
		if e.bit == 0 {
			r.offer(e, r.index(e.next), r.index(upto))
			continue
		}
		r.step = append(r.step[:0], e)
		for _, o := range entries[i+1:] {
			if o.flt == e.flt && o.next == e.next && o.unpark() {
				o.stepped = true
				r.step = append(r.step, o)
			}
		}
		r.filtered(r.step, upto)
	}
	for _, e := range entries {
		e.stepped = false
	}
	clear(r.step)
	r.step = r.step[:0]
}

// unpark tells whether the entry may be offered messages.
func (e *entry) unpark() bool {
	if e.parked && e.signal.Swap(false) {
		e.parked = false
	}
	return !e.parked
}

// index is the place of a position in the log.
func (r *room) index(pos uint64) int { return r.head + int(pos-r.first) }

// filtered offers entries of one filter that stand at the same message what
// they have not taken before, up to a position.
func (r *room) filtered(step []*entry, upto uint64) {
	lo, end := r.index(step[0].next), r.index(upto)
	for lo < end && len(step) > 0 {
		hi, fresh := r.mark(step, lo, end)
		for _, e := range step {
			if e.bit&fresh != 0 {
				r.offer(e, lo, hi)
				continue
			}
			r.flags[lo] |= fDuplicate
			e.round.duplicate++
			e.round.offered++
			e.next++
		}
		step = slices.DeleteFunc(step, func(e *entry) bool { return e.parked })
		lo = hi
	}
}

// mark marks messages from lo on as taken by all entries, and returns the index
// after the last and the bits of those entries that had not taken them before:
// all of them, or some or none and then of a single message. The marks of
// messages that are not taken in the end are removed by offer. A run ends
// before the first duplicate, because what that is depends on what becomes of
// the other copy, which may be in the run.
func (r *room) mark(step []*entry, lo, end int) (hi int, fresh uint64) {
	var all uint64
	for _, e := range step {
		all |= e.bit
	}
	flt := step[0].flt
	r.log.keys = padKeys(r.log.keys, len(r.log.msgs))
	for hi = lo; hi < end; hi++ {
		k := r.log.keys[hi]
		if k == (key{}) {
			k = r.d.keyOf(r, r.log.msgs[hi])
			r.log.keys[hi] = k
		}
		switch fresh = flt.add(k, all); {
		case fresh == all:
		case hi == lo:
			return hi + 1, fresh
		default:
			flt.remove(k, fresh)
			return hi, all
		}
	}
	return hi, all
}

func (r *room) unmark(e *entry, lo, hi int) {
	if e.bit == 0 {
		return
	}
	for i := lo; i < hi; i++ {
		e.flt.remove(r.log.keys[i], e.bit)
	}
}

// unmarkRest removes the marks of messages, up to the index hi, that the entries
// of the step have not been offered after all.
func (r *room) unmarkRest(hi int) {
	for _, e := range r.step {
		if e != nil && r.index(e.next) < hi {
			r.unmark(e, r.index(e.next), hi)
		}
	}
}

// offer offers the messages from lo to hi and leaves e.next after the last
// that was taken or dropped, which is hi unless the entry parks.
func (r *room) offer(e *entry, lo, hi int) {
	for lo < hi {
		to := hi
		if e.keyed {
			to = lo + 1 // a turn for each call of the key function
		}
		panicked := r.call(e, lo, to, hi)
		lo = r.account(e, lo, to, panicked)
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
	case e.lossless(), r.d.turn.over.Load():
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
// message. The messages from hi to marked are not offered, but marked.
func (r *room) call(e *entry, lo, hi, marked int) (panicked bool) {
	returned := false
	defer func() {
		if returned {
			return
		}
		panicked = true
		p := recover()
		r.d.turn.give()
		r.d.panicked(e.name, p)
		if p == nil {
			// runtime.Goexit: this goroutine ends here, and what account
			// would have done has to be done now. The loop starts anew.
			r.account(e, lo, hi, true)
			r.unmarkRest(marked)
		}
	}()
	if e.keyed {
		r.offerKeyed(e, lo, hi)
	} else if !r.d.turn.over.Load() {
		e.sink.offer(r.log.msgs[lo:hi], r.log.sizes[lo:hi], &e.taken)
	}
	returned = true
	return false
}

// offerKeyed is offer of a sink that runs a key function.
func (r *room) offerKeyed(e *entry, lo, hi int) {
	if !r.d.turn.take(e, hi-lo) {
		return
	}
	e.sink.offer(r.log.msgs[lo:hi], r.log.sizes[lo:hi], &e.taken)
	r.d.turn.give()
}
