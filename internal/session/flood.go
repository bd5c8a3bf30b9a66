package session

import "time"

// allowance bounds how fast something may come: so many a second, and so many at
// once. It has no clock: times are durations since some beginning. The zero value is a
// full allowance.
type allowance struct {
	used float64 // of the burst
	at   time.Duration
}

func (a *allowance) refill(now time.Duration, rate float64) {
	a.used = max(0, a.used-(now-a.at).Seconds()*rate)
	a.at = now
}

// take tells whether n more may come now.
func (a *allowance) take(now time.Duration, n int, rate, burst float64) bool {
	a.refill(now, rate)
	if a.used+float64(n) > burst {
		return false
	}
	a.used += float64(n)
	return true
}

// wait is how long it takes until spend may be called.
func (a *allowance) wait(now time.Duration, rate, burst float64) time.Duration {
	a.refill(now, rate)
	if a.used < burst {
		return 0
	}
	return time.Duration((a.used-burst)/rate*float64(time.Second)) + time.Millisecond
}

// spend books what has come, and may overdraw: a single message can be larger than all
// that is ever in the allowance. What is owed does not grow beyond all bounds, so that
// nobody waits for longer than a stream may stand still.
func (a *allowance) spend(n int, burst float64) {
	a.used = min(a.used+float64(n), mostDebt*burst)
}

// flood bounds what a peer may say on the control stream: frames, bytes, entries of
// offers, and announcements, each a second and at once. What this side says stays
// below (offersEvery, announceEvery).
type flood struct{ frames, bytes, entries, announcements allowance }

const (
	// Package pacing pings up to 250 times a second while a connection is full,
	// and answers as many.
	frameRate, frameBurst     = 1000, 1000
	controlRate, controlBurst = 128 << 10, 1 << 20 // bytes
	entryRate, entryBurst     = 2048, 4 * MaxOffers
	// A record costs the receiver some verifications, thousands of times what it costs
	// the sender to repeat it. The burst is what a line may hold back for a while.
	announceRate, announceBurst = 1, 32
)

// frame tells whether a frame of size bytes may come.
func (f *flood) frame(now time.Duration, size int) bool {
	return f.frames.take(now, 1, frameRate, frameBurst) && f.bytes.take(now, size, controlRate, controlBurst)
}

// announcement tells whether a record or a payload may come.
func (f *flood) announcement(now time.Duration) bool {
	return f.announcements.take(now, 1, announceRate, announceBurst)
}

// entry tells whether an entry of an offers frame may come.
func (f *flood) entry(now time.Duration) bool {
	return f.entries.take(now, 1, entryRate, entryBurst)
}
