package dispatcher

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// filterGroup is how many subscribers share a filter: a bit each.
const filterGroup = 64

// room is one message type: its mailbox, its subscribers, its filter and its
// accounts.
type room struct {
	d     *Dispatcher
	name  string
	seeds seeds
	subs  sync.Map // ID → *entry, those being registered included

	filtering atomic.Bool // somebody wants duplicates filtered

	mu           sync.Mutex // guards what follows
	entries      []*entry   // copied on write: the loop reads it outside
	in           batch      // admitted, the loop has not looked yet
	inBytes      int
	backlog      int // in the loop's log
	backlogBytes int
	seq          uint64 // position of the next message to be admitted
	scheduled    bool   // the loop knows that there is something to do
	closed       bool
	known        bool // has or had a subscriber
	lossless     int  // subscribers that are
	weight       int
	waiters      []*waiter
	retired      []*entry   // for the loop to end
	groups       []bitGroup // who has which bit of which filter
	received     uint64
	refused      uint64
	done         roomCounts

	// The loop's, apart from the mutex's cache line.
	_         [64]byte
	log       batch   // waits to be handed over; the first has position first
	flags     []flags // what became of those in log
	logSize   int     // bytes of payload in log
	head      int     // index in log of the first
	first     uint64  // position of the first
	front     uint64  // position up to which was offered to all that have room
	round     roomCounts
	step      []*entry // reused by hand
	unhashed  uint64   // messages whose Hash gave no key
	seqAtTick uint64
}

// batch is a run of messages with what the publisher's goroutine found out
// about them. keys may be shorter than msgs; a missing key is a zero one.
type batch struct {
	msgs  []Message
	sizes []uint32
	keys  []key
}

type bitGroup struct {
	used  uint64 // bits that subscribers have
	clear uint64 // bits whose marks the loop has to forget
	flt   *filter
}

type roomCounts struct {
	delivered, duplicate, unrouted uint64
	drops                          dropCounts
}

func (c *roomCounts) add(o *roomCounts) {
	c.delivered += o.delivered
	c.duplicate += o.duplicate
	c.unrouted += o.unrouted
	c.drops.add(o.drops)
}

// waiter is a publisher that waits for room in a lossless type.
type waiter struct {
	batch
	next int           // index of the first message not admitted
	done chan struct{} // closed when all are admitted, or the room is
}

func (r *room) fitsLocked(size uint32) bool {
	n := len(r.in.msgs) + r.backlog
	return n == 0 || n < r.d.cfg.QueueSize && r.inBytes+r.backlogBytes+int(size) <= r.d.cfg.QueueBytes
}

func (r *room) admitLocked(m Message, size uint32, k key) {
	r.in.msgs = append(r.in.msgs, m)
	r.in.sizes = append(r.in.sizes, size)
	if r.filtering.Load() {
		r.in.keys = append(padKeys(r.in.keys, len(r.in.msgs)-1), k)
	}
	r.inBytes += int(size)
	r.seq++
	r.received++
}

// padKeys makes up for messages that were admitted while nobody filtered.
func padKeys(keys []key, n int) []key {
	for len(keys) < n {
		keys = append(keys, key{})
	}
	return keys
}

// scheduleLocked reports whether the caller has to tell the loop.
func (r *room) scheduleLocked() bool {
	was := r.scheduled
	r.scheduled = true
	return !was
}

// wake makes the loop look at the room.
func (r *room) wake() {
	r.mu.Lock()
	tell := r.scheduleLocked()
	r.mu.Unlock()
	if tell {
		r.d.ready.push(r)
	}
}

// grantLocked admits messages of waiting publishers, in the order in which
// they came, as far as there is room.
func (r *room) grantLocked() {
	for len(r.waiters) > 0 {
		w := r.waiters[0]
		for w.next < len(w.msgs) && r.fitsLocked(w.sizes[w.next]) {
			r.admitLocked(w.msgs[w.next], w.sizes[w.next], w.key(w.next))
			w.next++
		}
		if w.next < len(w.msgs) {
			return
		}
		r.waiters[0] = nil
		r.waiters = r.waiters[1:]
		close(w.done)
	}
	r.waiters = nil
}

func (w *waiter) key(i int) key {
	if i < len(w.keys) {
		return w.keys[i]
	}
	return key{}
}

// waitLocked waits until the rest of a batch is admitted, and returns how many
// messages were. The mutex is held when it is called, and free afterwards.
func (r *room) waitLocked(ctx context.Context, b batch) (n int, err error) {
	w := &waiter{
		batch: batch{slices.Clone(b.msgs), slices.Clone(b.sizes), slices.Clone(b.keys)},
		done:  make(chan struct{}),
	}
	r.waiters = append(r.waiters, w)
	r.mu.Unlock()
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	left := len(w.msgs) - w.next
	if left == 0 {
		return w.next, nil
	}
	r.refused += uint64(left)
	if r.closed {
		return w.next, ErrClosed
	}
	if i := slices.Index(r.waiters, w); i >= 0 {
		r.waiters = slices.Delete(r.waiters, i, i+1)
	}
	return w.next, ctx.Err()
}

// close refuses what comes from now on, and those who wait.
func (r *room) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, w := range r.waiters {
		close(w.done)
	}
	r.waiters = nil
}

// join makes an entry a subscriber of what is admitted from now on.
func (r *room) join(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.next, e.joined, r.known = r.seq, r.seq, true
	if e.doFilter {
		r.assignBitLocked(e)
		r.filtering.Store(true)
	}
	if e.lossless() {
		r.lossless++
	}
	r.entries = append(slices.Clip(slices.Clone(r.entries)), e)
	r.weighLocked()
}

func (r *room) assignBitLocked(e *entry) {
	for g := 0; ; g++ {
		if g == len(r.groups) {
			r.groups = append(r.groups, bitGroup{flt: newFilter(r.d.cfg.FilterSize)})
		}
		group := &r.groups[g]
		for i := range filterGroup {
			if bit := uint64(1) << i; group.used&bit == 0 {
				group.used |= bit
				e.group, e.bit, e.flt = g, bit, group.flt
				return
			}
		}
	}
}

// leave takes an entry out and reports whether it was in. The loop, if it
// runs, ends the entry.
func (r *room) leave(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.entries, e)
	if i < 0 {
		return false
	}
	r.entries = slices.Delete(slices.Clone(r.entries), i, i+1)
	r.retired = append(r.retired, e)
	if e.bit != 0 {
		r.groups[e.group].used &^= e.bit
		r.groups[e.group].clear |= e.bit
	}
	if e.lossless() {
		r.lossless--
	}
	r.filtering.Store(slices.ContainsFunc(r.entries, func(e *entry) bool { return e.bit != 0 }))
	r.weighLocked()
	return true
}

func (r *room) weighLocked() {
	r.weight = 1
	for _, e := range r.entries {
		r.weight = max(r.weight, e.weight)
	}
}
