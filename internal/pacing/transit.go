package pacing

import "time"

const (
	// maxMarks is how many marks may be out at once.
	maxMarks = 8
	// marksPerWindow is how often the window is marked, so that it moves in small
	// steps.
	marksPerWindow = 4
	// markRate and markBurst bound the marks, per second and at once: each is an
	// encrypted record and a system call at either end. A session's SPEC.md says
	// how many pings a peer may send.
	markRate  = 250
	markBurst = 32
	// markAgain is how long a mark may be out before another one is made beside
	// it while somebody waits.
	markAgain = time.Second
)

// mark is a ping of which the answer tells that everything written before it has
// arrived.
type mark struct {
	nonce    uint64
	at       time.Duration
	written  [2]int64 // when it was made
	inFlight int64    // when it was made
}

// The two books of transit.
const (
	all = iota
	high
)

// transit knows what is on its way. It has no clock: times are durations since
// the budget was made.
type transit struct {
	reserved [2]int64 // of writes under way
	written  [2]int64
	arrived  [2]int64 // of those written

	marks  []mark // that are out, oldest first
	nonce  uint64
	since  time.Duration // when the oldest mark was made that may still come back
	marked int64         // all that was written when the last one was made
	last   time.Duration // when that was
	tokens float64       // marks that may be made at once
	filled time.Duration // when tokens were counted
}

// inFlight is what is on its way, of all classes or of class High.
func (t *transit) inFlight(book int) int64 {
	return t.reserved[book] + t.written[book] - t.arrived[book]
}

func (t *transit) reserve(class Class, n int) { add(&t.reserved, class, n) }
func (t *transit) wrote(class Class, n int)   { add(&t.written, class, n) }

func add(book *[2]int64, class Class, n int) {
	book[all] += int64(n)
	if class == High {
		book[high] += int64(n)
	}
}

// due tells whether a mark is to be made now: after each piece of so many bytes. blocked
// says that somebody waits for the window.
func (t *transit) due(now time.Duration, piece int64, blocked bool) bool {
	t.fill(now)
	switch {
	case t.tokens < 1:
		return false
	case blocked && len(t.marks) > 0 && now-t.last >= markAgain:
		return true
	case len(t.marks) == maxMarks:
		return false
	case t.written[all]-t.marked >= piece:
		// With nobody waiting the marks are spaced out: the connection is fast.
		return blocked || now-t.last >= time.Second/markRate
	}
	return blocked && len(t.marks) == 0
}

// fill adds the tokens that time has brought.
func (t *transit) fill(now time.Duration) {
	t.tokens = min(t.tokens+(now-t.filled).Seconds()*markRate, markBurst)
	t.filled = now
}

// make makes a mark. One too many takes the place of the oldest.
func (t *transit) make(now time.Duration) uint64 {
	switch len(t.marks) {
	case maxMarks:
		t.marks = append(t.marks[:0], t.marks[1:]...)
	case 0:
		t.since = now
	}
	t.tokens--
	t.nonce++
	t.marks = append(t.marks, mark{t.nonce, now, t.written, t.inFlight(all)})
	t.marked, t.last = t.written[all], now
	return t.nonce
}

// came takes a mark that has come back off the list, and those before it.
func (t *transit) came(nonce uint64) (m mark, ok bool) {
	for i := range t.marks {
		if t.marks[i].nonce == nonce {
			m = t.marks[i]
			t.marks = append(t.marks[:0], t.marks[i+1:]...)
			t.arrived = m.written
			if len(t.marks) > 0 {
				t.since = t.marks[0].at
			}
			return m, true
		}
	}
	return mark{}, false
}

// forget begins anew: nothing is known of what was written before.
func (t *transit) forget(now time.Duration) {
	t.arrived, t.marks = t.written, nil
	t.marked = t.written[all]
	t.tokens, t.filled, t.last = markBurst, now, now
}

// overdue tells whether marks have been out for longer than a line of LowestRate
// takes, and grace.
func (t *transit) overdue(now, grace time.Duration) bool {
	return len(t.marks) > 0 && now-t.since > grace+Allowance(t.marks[0].inFlight)
}
