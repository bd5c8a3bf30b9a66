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
	r.hand(entries, limit, uint64(budget))
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

// shrinkAbove is how many messages a buffer may have room for while nobody
// uses it.
const shrinkAbove = 1024

// shrink gives up the memory of a past burst. Only the loop calls it.
func (r *room) shrink() {
	r.mu.Lock()
	defer r.mu.Unlock()
	idle := r.seq == r.seqAtTick && len(r.in.msgs)+r.backlog == 0
	r.seqAtTick = r.seq
	if !idle {
		return
	}
	if cap(r.in.msgs) > shrinkAbove {
		r.in = batch{}
	}
	if cap(r.log.msgs) > shrinkAbove {
		r.log, r.flags, r.head = batch{}, nil, 0
	}
	for _, e := range r.entries {
		e.sink.shrink()
	}
}
