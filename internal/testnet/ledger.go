package testnet

import "time"

// slotWidth is how fine a line's time is divided.
const slotWidth = 5 * time.Millisecond

// ledger hands out the capacity of a line of rate bits per second. Time is cut
// into slots, and a reservation takes the first free capacity from its start
// on. So a segment that will arrive late (a long path, a retransmission) does
// not hold up one that is reserved after it and arrives earlier.
type ledger struct {
	rate int64 // bits per second; 0 is no limit

	base int64   // number of the slot that used[0] stands for
	used []int64 // nanoseconds of the line taken of each slot
}

// reserve takes the capacity for size bytes from t on, and returns when the
// last of them has passed. A line without a limit passes them at t.
func (l *ledger) reserve(t time.Time, size int) time.Time {
	if l.rate <= 0 || size <= 0 {
		return t
	}
	// Counted in nanoseconds of the line: a slot has slotWidth of them.
	need := max(int64(size)*8*int64(time.Second)/l.rate, 1)
	at := t.UnixNano()
	slot := at / int64(slotWidth)
	l.forgetBefore(time.Now().UnixNano() / int64(slotWidth))
	if slot < l.base {
		slot = l.base
		at = slot * int64(slotWidth)
	}
	for ; ; slot++ {
		i := int(slot - l.base)
		for len(l.used) <= i {
			l.used = append(l.used, 0)
		}
		start := slot * int64(slotWidth)
		free := int64(slotWidth) - l.used[i]
		// In its first slot a reservation cannot use the time before its start.
		free = min(free, start+int64(slotWidth)-max(at, start))
		take := min(free, need)
		if take <= 0 {
			continue
		}
		l.used[i] += take
		need -= take
		if need == 0 {
			end := max(start+l.used[i], max(at, start)+take)
			return time.Unix(0, min(end, start+int64(slotWidth)))
		}
	}
}

// forgetBefore drops the slots that have passed.
func (l *ledger) forgetBefore(slot int64) {
	past := slot - l.base
	switch {
	case past <= 0:
	case past >= int64(len(l.used)):
		l.base, l.used = slot, l.used[:0]
	default:
		l.base = slot
		l.used = append(l.used[:0], l.used[past:]...)
	}
}
