package dispatcher

import (
	"slices"
	"sync"
	"time"
)

const (
	// chunkSize is how many messages of a topic are dispatched in one go. Between
	// two chunks the counts are brought up to date, and other topics have their
	// turn.
	chunkSize = 1024
	// blockSize is how many of them one subscription is offered before the next
	// one is: they stay in the processor's cache for all.
	blockSize = 128
)

// readyList holds the topics in which there is something to do.
type readyList struct {
	wake chan struct{} // capacity 1

	mu     sync.Mutex // guards topics
	topics []*topic
}

func (l *readyList) push(t *topic) {
	l.mu.Lock()
	l.topics = append(l.topics, t)
	first := len(l.topics) == 1
	l.mu.Unlock()
	if first {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// take appends what is ready to active.
func (l *readyList) take(active []*topic) []*topic {
	l.mu.Lock()
	defer l.mu.Unlock()
	active = append(active, l.topics...)
	clear(l.topics)
	l.topics = l.topics[:0]
	return active
}

// loop fans messages out until Stop. It runs no code of the user's and waits
// for nothing but messages.
func (d *Dispatcher) loop() {
	defer close(d.loopDone)
	d.obs.Labels("dispatcher").Apply()
	ticker := time.NewTicker(d.cfg.TickInterval)
	defer ticker.Stop()
	var active []*topic
	for {
		select {
		case <-ticker.C:
			d.tick()
		case <-d.quit: // from Stop, when nothing more is admitted
			for _, t := range *d.topics.Load() {
				for t.dispatch(&d.block) {
				}
			}
			return
		case <-d.ready.wake: // from publishers, and those that give credit back
		}
		for active = d.ready.take(active); len(active) > 0; active = d.ready.take(active) {
			active = d.pass(active)
			select {
			case <-ticker.C:
				d.tick()
			default:
			}
		}
	}
}

// pass dispatches a chunk of every topic and returns those that have more.
func (d *Dispatcher) pass(active []*topic) []*topic {
	keep := active[:0]
	for _, t := range active {
		if t.dispatch(&d.block) {
			keep = append(keep, t)
		}
	}
	clear(active[len(keep):])
	return keep
}

// tick brings the metrics up to date and gives memory back.
func (d *Dispatcher) tick() {
	for _, t := range *d.topics.Load() {
		t.shrink()
	}
	d.meter()
}

// flags say what became of a message with the subscriptions.
type flags uint8

const (
	fTaken flags = 1 << iota
	fDuplicate
	fFull
	fPanic
)

// fate is what became of a message with all subscriptions.
type fate uint8

const (
	fateDelivered fate = iota
	fatePanic
	fateFull
	fateDuplicate
	fateUnrouted
	fateNotAdmitted // the inbox was full: the loop never sees it
	fates
)

// fate is the best of what became of it with each.
func (f flags) fate() fate {
	switch {
	case f&fTaken != 0:
		return fateDelivered
	case f&fPanic != 0:
		return fatePanic
	case f&fFull != 0:
		return fateFull
	case f&fDuplicate != 0:
		return fateDuplicate
	}
	return fateUnrouted
}

// block is a run of messages that are offered to the same subscriptions. The
// dispatcher has one, which the loop uses again and again.
type block struct {
	items  []item
	fresh  [blockSize]uint64 // marks that the filter did not have
	flags  [blockSize]flags
	panics []panicked
	sample time.Time // when the sample among them was admitted; zero without it
}

type panicked struct {
	name  string
	value any
}

// dispatch offers the next messages to every subscription and reports whether
// there are more. Only the loop calls it.
func (t *topic) dispatch(b *block) (more bool) {
	items, subs, sampled, at := t.takeChunk()
	trace := t.d.trace.Load()
	bytes := 0
	var sum [fates]uint64
	for run := range slices.Chunk(items, blockSize) {
		b.items, b.sample = run, time.Time{}
		if !sampled.IsZero() && at < len(run) {
			b.sample, sampled = sampled, time.Time{}
		}
		at -= len(run)
		clear(b.flags[:len(run)])
		t.offer(b, subs)
		if trace != nil {
			b.tell(*trace)
		}
		bytes += b.account(&sum)
	}
	clear(items)
	return t.finish(len(items), bytes, &sum)
}

// takeChunk takes what was admitted and returns the subscriptions that get it, and
// when and which of them is the sample.
func (t *topic) takeChunk() (items []item, subs []*subscription, sampled time.Time, at int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == len(t.batch) {
		t.batch, t.inbox = t.inbox, t.batch[:0]
		t.pending, t.pendingBytes, t.inboxBytes = len(t.batch), t.inboxBytes, 0
		t.next = 0
	}
	n := min(chunkSize, len(t.batch)-t.next)
	subs = t.list
	for i, s := range subs { // in the order in which they joined
		if s.from > t.first {
			n = min(n, int(s.from-t.first))
			subs = subs[:i]
			break
		}
	}
	sampled, at = t.sample.takeLocked(t.first, n)
	return t.batch[t.next : t.next+n], subs, sampled, at
}

// offer offers a block to every subscription.
func (t *topic) offer(b *block, subs []*subscription) {
	filtered := false
	for _, s := range subs {
		if s.filters {
			filtered = true
		} else {
			s.offer(b)
		}
	}
	if filtered {
		t.offerFiltered(b, subs)
	}
	for _, p := range b.panics {
		t.d.panicked(p.name, p.value) // logs, so no lock is held
	}
	b.panics = nil
}

// offerFiltered offers messages to the subscriptions that filter. It marks them
// as taken by all first, so that the table is asked once for all; what is not
// taken in the end is taken back by subscription.offer.
func (t *topic) offerFiltered(b *block, subs []*subscription) {
	f := &t.filter
	f.mu.Lock()
	defer f.mu.Unlock()
	for g, table := range f.tables {
		var all uint64
		for _, s := range subs {
			if s.mark.table == g {
				all |= s.mark.bit
			}
		}
		if all == 0 {
			continue
		}
		for i := range b.items {
			b.fresh[i] = table.add(b.items[i].key, all)
		}
		for _, s := range subs {
			if s.mark.table == g && s.mark.bit != 0 {
				s.offer(b)
			}
		}
	}
}

// account accounts for the messages of a block, and returns their bytes.
func (b *block) account(sum *[fates]uint64) (bytes int) {
	for i, f := range b.flags[:len(b.items)] {
		bytes += b.items[i].size
		sum[f.fate()]++
	}
	return bytes
}

// finish takes the messages of a chunk for done, lets publishers in and reports
// whether there is more to do.
func (t *topic) finish(n, bytes int, sum *[fates]uint64) (more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next += n
	t.first += uint64(n)
	t.pending -= n
	t.pendingBytes -= bytes
	for f, n := range sum {
		t.counts[f] += n
	}
	if t.waiters.n > 0 {
		t.grantLocked()
	}
	t.scheduled = len(t.inbox)+t.pending > 0
	return t.scheduled
}

// shrink gives up the memory of a past burst. Only the loop calls it.
func (t *topic) shrink() {
	t.mu.Lock()
	idle := t.seq == t.seqAtTick && len(t.inbox)+t.pending == 0
	t.seqAtTick = t.seq
	t.sample.wanted = t.sample.at.IsZero()
	if idle && cap(t.inbox) > shrinkAbove {
		t.inbox = nil
	}
	if idle && cap(t.batch) > shrinkAbove {
		t.batch, t.next = nil, 0
	}
	subs := t.list
	t.mu.Unlock()
	for _, s := range subs {
		s.shrink()
		s.last().shrink()
	}
}
