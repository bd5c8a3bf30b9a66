package session

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

// flood bounds what a peer may say on the control stream: frames, bytes, entries of
// offers, and announcements, each a second and at once. What this side says stays
// below (offersEvery, announceEvery).
type flood struct{ frames, bytes, entries, announcements tokenbucket.Bucket }

var (
	// Package pacing pings up to 250 times a second while a connection is full,
	// and answers as many.
	frameRate   = tokenbucket.Rate{PerSecond: 1000, Burst: 1000}
	controlRate = tokenbucket.Rate{PerSecond: 128 << 10, Burst: 1 << 20} // bytes
	entryRate   = tokenbucket.Rate{PerSecond: 2048, Burst: 4 * MaxOffers}
	// A record costs the receiver some verifications, thousands of times what it costs
	// the sender to repeat it. The burst is what a line may hold back for a while.
	announceRate = tokenbucket.Rate{PerSecond: 1, Burst: 32}
)

// frame tells whether a frame of size bytes may come.
func (f *flood) frame(now time.Time, size int) bool {
	return f.frames.Take(frameRate, now, 1) && f.bytes.Take(controlRate, now, float64(size))
}

// announcement tells whether a record or a payload may come.
func (f *flood) announcement(now time.Time) bool { return f.announcements.Take(announceRate, now, 1) }

// entry tells whether an entry of an offers frame may come.
func (f *flood) entry(now time.Time) bool { return f.entries.Take(entryRate, now, 1) }
