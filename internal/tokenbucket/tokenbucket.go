// Package tokenbucket bounds how often something may happen. A bucket is a value of a
// few words without a clock and without a lock: whoever keeps it says what time it is.
// (golang.org/x/time/rate has a lock in each limiter, and none of them can owe.)
package tokenbucket

import "time"

// Rate is the rule of a bucket: so much at once, and so much comes back in a second.
type Rate struct{ PerSecond, Burst float64 }

// Bucket is the state of a bucket. The zero Bucket is full. One Rate goes with it,
// which may change.
type Bucket struct {
	used float64 // of the burst, at that time
	at   time.Time
}

// Used is what is missing until the bucket is full.
func (b Bucket) Used(r Rate, now time.Time) float64 {
	if d := now.Sub(b.at); d > 0 && b.used > 0 {
		return max(0, b.used-d.Seconds()*r.PerSecond)
	}
	return b.used
}

// Take takes n, if there is so much.
func (b *Bucket) Take(r Rate, now time.Time, n float64) bool {
	b.refill(r, now)
	if b.used+n > r.Burst {
		return false
	}
	b.used += n
	return true
}

// Wait is how long it takes until there is n: 0 if there is now. It is for ever, about
// 290 years, if nothing comes back or n is above the burst.
func (b Bucket) Wait(r Rate, now time.Time, n float64) time.Duration {
	missing := b.Used(r, now) + n - r.Burst
	switch {
	case missing <= 0:
		return 0
	case n > r.Burst || missing >= r.PerSecond*maxWait.Seconds():
		return maxWait
	}
	return time.Duration(missing / r.PerSecond * float64(time.Second))
}

const maxWait = time.Duration(1<<63 - 1)

// Owe takes n whether there is so much or not. What is owed does not grow above most
// bursts.
func (b *Bucket) Owe(r Rate, now time.Time, n, most float64) {
	b.refill(r, now)
	b.used = min(b.used+n, most*r.Burst)
}

// refill notes a new time. An earlier one than that which is known changes nothing.
func (b *Bucket) refill(r Rate, now time.Time) {
	b.used = b.Used(r, now)
	if now.After(b.at) {
		b.at = now
	}
}

// Less tells whether less of b than of o was used when each was last taken from:
// forgetting it gives away less.
func (b Bucket) Less(o Bucket) bool { return b.used < o.used }
