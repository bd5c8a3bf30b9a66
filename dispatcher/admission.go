package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// credit is the promise of a lossless subscription: for each message that is
// admitted, it keeps a place in its queue. It is given back when the message
// leaves the queue, or needs no place there.
type credit struct {
	from         uint64 // position of the first message it gets
	granted      int64  // messages admitted
	grantedBytes int64
	freed        atomic.Int64 // places given back
	freedBytes   atomic.Int64
}

// hasCreditLocked tells whether there is a place for one more message. A single
// one always fits.
func (s *subscription) hasCreditLocked(size int) bool {
	used := s.granted - s.freed.Load()
	return used == 0 || used < int64(s.maxLen) &&
		s.grantedBytes-s.freedBytes.Load()+int64(size) <= int64(s.maxBytes)
}

func (s *subscription) useCreditLocked(size int) {
	s.granted++
	s.grantedBytes += int64(size)
}

// free gives places back and tells whether somebody may wait for them, in
// topic.grant.
func (s *subscription) free(n, bytes int) (grant bool) {
	if s.policy != Lossless || n == 0 {
		return false
	}
	s.freedBytes.Add(int64(bytes))
	s.freed.Add(int64(n))
	return s.topic.waiting.Load() > 0
}

// outcome is what becomes of a message that asks to be admitted.
type outcome uint8

const (
	admitted outcome = iota
	unrouted         // nobody there
	dropped          // full
	mustWait         // full, and somebody is lossless
	needsKey         // somebody has begun to filter
	shut             // stopped
)

// tryLocked admits a message if nothing is in the way of that.
func (t *topic) tryLocked(it *item) bool {
	if t.closed || len(t.list) == 0 || t.waiters.n > 0 || t.needsKey(it) || !t.fitsLocked(it.size) {
		return false
	}
	t.admitLocked(it)
	return true
}

// needsKey tells whether a message was put before somebody began to filter.
func (t *topic) needsKey(it *item) bool { return t.filtering.Load() && it.key == key{} }

// acceptLocked admits a message if it can, and accounts for it unless it has
// to wait or came too late.
func (t *topic) acceptLocked(it *item) outcome {
	switch {
	case t.tryLocked(it):
		return admitted
	case t.closed:
		return shut
	case len(t.list) == 0:
		t.received++
		t.counts[fateUnrouted]++
		return unrouted
	case t.needsKey(it):
		return needsKey
	case len(t.lossless) > 0 || t.waiters.n > 0:
		return mustWait
	}
	t.received++
	t.counts[fateNotAdmitted]++
	return dropped
}

// fitsLocked tells whether there is space in the inbox, and a place with every
// lossless subscription.
func (t *topic) fitsLocked(size int) bool {
	if n := len(t.inbox) + t.pending; n > 0 &&
		(n >= t.d.cfg.QueueSize || t.inboxBytes+t.pendingBytes+size > t.d.cfg.QueueBytes) {
		return false
	}
	for _, s := range t.lossless {
		if !s.hasCreditLocked(size) {
			return false
		}
	}
	return true
}

func (t *topic) admitLocked(it *item) {
	for _, s := range t.lossless {
		s.useCreditLocked(it.size)
	}
	t.inbox = append(t.inbox, *it)
	t.inboxBytes += it.size
	if t.sample.wanted {
		t.sample.markLocked(t.seq)
	}
	t.seq++
	t.received++
}

// scheduleLocked reports whether the caller has to tell the loop.
func (t *topic) scheduleLocked() bool {
	was := t.scheduled
	t.scheduled = true
	return !was
}

// grant admits messages that wait, as far as there are credits.
func (t *topic) grant() {
	t.mu.Lock()
	tell := t.grantLocked() && t.scheduleLocked()
	t.mu.Unlock()
	if tell {
		t.d.ready.push(t)
	}
}

// waitList holds the calls of PutMessage that wait, by sender. The senders get
// their turns round robin, so that a flood of one does not keep others out; the
// calls of one sender are first come, first served.
type waitList struct {
	n       int // calls
	senders map[string]*waitingSender
	turns   []*waitingSender // whose turn is next comes first
}

type waitingSender struct {
	from  string
	calls []*waiter
	// deficit is what the sender may still take in this turn: 1 for each
	// message and for each turnBytes of it.
	deficit int
}

const turnBytes = 4096

// waiter is a call of PutMessage or PutMessages that waits.
type waiter struct {
	items []item
	next  int           // index of the first that is not admitted
	done  chan struct{} // closed when all are admitted, or the topic is
}

// grantLocked admits what waits as far as it fits, and tells whether anything
// was. Who is next and does not fit is not overtaken: a large message would
// wait for ever.
func (t *topic) grantLocked() (any bool) {
	l := &t.waiters
	for len(l.turns) > 0 {
		s := l.turns[0]
		w := s.calls[0]
		it := &w.items[w.next]
		if !t.fitsLocked(it.size) {
			break
		}
		cost := 1 + it.size/turnBytes
		if s.deficit < cost {
			if s.deficit++; s.deficit < cost && len(l.turns) > 1 {
				l.turns = append(l.turns[1:], s)
				continue
			}
		}
		t.admitLocked(it)
		any = true
		s.deficit = max(s.deficit-cost, 0)
		if w.next++; w.next == len(w.items) {
			l.remove(s, w)
			close(w.done)
		}
		if s.deficit == 0 && len(l.turns) > 1 && l.turns[0] == s {
			l.turns = append(l.turns[1:], s)
		}
	}
	t.waiting.Store(int32(l.n))
	return any
}

func (l *waitList) add(w *waiter) *waitingSender {
	from := w.items[0].head.from
	s := l.senders[from]
	if s == nil {
		if l.senders == nil {
			l.senders = make(map[string]*waitingSender)
		}
		s = &waitingSender{from: from}
		l.senders[from] = s
		l.turns = append(l.turns, s)
	}
	s.calls = append(s.calls, w)
	l.n++
	return s
}

func (l *waitList) remove(s *waitingSender, w *waiter) {
	i := slices.Index(s.calls, w)
	if i < 0 {
		return
	}
	s.calls = slices.Delete(s.calls, i, i+1)
	l.n--
	if len(s.calls) > 0 {
		return
	}
	delete(l.senders, s.from)
	if i := slices.Index(l.turns, s); i >= 0 {
		l.turns = slices.Delete(l.turns, i, i+1)
	}
}

// waitLocked waits until messages are admitted, and returns how many were. The
// mutex is held when it is called, and free afterwards.
func (t *topic) waitLocked(ctx context.Context, items []item) (n int, err error) {
	w := &waiter{items: slices.Clone(items), done: make(chan struct{})}
	s := t.waiters.add(w)
	t.waiting.Store(int32(t.waiters.n))
	// A credit may have been given back before that was to be seen.
	tell := t.grantLocked() && t.scheduleLocked()
	t.mu.Unlock()
	if tell {
		t.d.ready.push(t)
	}
	select {
	case <-w.done: // from whoever gives credit back, the loop, or Stop
	case <-ctx.Done():
	}
	t.mu.Lock()
	left := len(w.items) - w.next
	if left == 0 {
		t.mu.Unlock()
		return w.next, nil
	}
	t.refused += uint64(left)
	if t.closed {
		t.mu.Unlock()
		return w.next, ErrClosed
	}
	t.waiters.remove(s, w)
	t.mu.Unlock()
	t.grant() // the next one may need less
	return w.next, fmt.Errorf("wait for room for type %s: %w", t.name, ctx.Err())
}

// close refuses what comes from now on, and those who wait.
func (t *topic) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, s := range t.waiters.turns {
		for _, w := range s.calls {
			close(w.done)
		}
	}
	t.waiters = waitList{}
	t.waiting.Store(0)
}
