package testnet

import "time"

// bucketWidth is how fine a line's time is divided.
const bucketWidth = 5 * time.Millisecond

// ledger hands out the capacity of a line of rate bits per second. Time is cut
// into buckets, and a reservation takes the first free capacity from its start
// on. So a segment that will arrive late (a long path, a retransmission) does
// not hold up one that is reserved after it and arrives earlier.
type ledger struct {
	rate int64 // bits per second; 0 is no limit

	base int64   // number of the bucket that used[0] stands for
	used []int64 // nanoseconds of the line taken of each bucket
}

// reserve takes the capacity for size bytes from t on, and returns when the
// last of them has passed. A line without a limit passes them at t.
func (l *ledger) reserve(t time.Time, size int) time.Time {
	if l.rate <= 0 || size <= 0 {
		return t
	}
	// Counted in nanoseconds of the line: a bucket has bucketWidth of them.
	need := max(int64(size)*8*int64(time.Second)/l.rate, 1)
	at := t.UnixNano()
	bucket := at / int64(bucketWidth)
	l.forgetBefore(time.Now().UnixNano() / int64(bucketWidth))
	if bucket < l.base {
		bucket = l.base
		at = bucket * int64(bucketWidth)
	}
	for ; ; bucket++ {
		i := int(bucket - l.base)
		for len(l.used) <= i {
			l.used = append(l.used, 0)
		}
		start := bucket * int64(bucketWidth)
		free := int64(bucketWidth) - l.used[i]
		// In its first bucket a reservation cannot use the time before its start.
		free = min(free, start+int64(bucketWidth)-max(at, start))
		take := min(free, need)
		if take <= 0 {
			continue
		}
		l.used[i] += take
		need -= take
		if need == 0 {
			end := max(start+l.used[i], max(at, start)+take)
			return time.Unix(0, min(end, start+int64(bucketWidth)))
		}
	}
}

// forgetBefore drops the buckets that have passed.
func (l *ledger) forgetBefore(bucket int64) {
	past := bucket - l.base
	switch {
	case past <= 0:
	case past >= int64(len(l.used)):
		l.base, l.used = bucket, l.used[:0]
	default:
		l.base = bucket
		l.used = append(l.used[:0], l.used[past:]...)
	}
}
