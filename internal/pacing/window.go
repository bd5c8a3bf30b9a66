package pacing

import "time"

const (
	// minWindow is never undercut, so that nothing is starved. It is half a
	// second of a line of 256 kbit/s.
	minWindow = 16 << 10
	// firstWindow is what a new connection begins with: as much as a small message
	// may have to wait for on a slow line, and four chunks of a broadcast, each written
	// at once. With half of it a broadcast of 1 MiB takes longer, once at each hop; twice
	// as much gains little there (see the documentation of package swarm for the command).
	firstWindow = marksPerWindow * chunkPiece
	// maxWindow is that of a yamux stream.
	maxWindow = 16 << 20
	// express is how much of class High may be on its way in addition, so that
	// a small message waits for no window.
	express = 16 << 10
	// probeEvery is how often the delay without a queue of our own is measured
	// again.
	probeEvery = 10 * time.Second
	// quietFor is how long the smallest round trip that was measured on an empty
	// connection is believed to be that without a queue.
	quietFor = 10 * time.Minute
)

// queueTarget is how much delay by queueing is allowed while a class is the
// highest that waits, beside a quarter of the round trip, whose jitter is no
// queue. Low alone makes hardly any queue, so that it gives way to other
// connections too. With the 100 ms of RFC 6817 the windows of yamux streams are
// full before the budget is, and the weights count for nothing.
var queueTarget = [Classes]time.Duration{40 * time.Millisecond, 40 * time.Millisecond, 20 * time.Millisecond}

// window bounds what is on its way on one connection: a delay-based window, as of
// LEDBAT (RFC 6817). It has no clock: times are durations since the budget was
// made.
type window struct {
	bytes   int64         // 0 stands for firstWindow
	base    time.Duration // smallest delay with at most minWindow on the way
	probed  time.Duration // when base was measured
	probing bool          // base is being measured
	quiet   time.Duration // smallest delay with nothing on the way; 0: unknown
	quietAt time.Duration // when that was measured

	steady  bool  // it has once been too large; until then it doubles
	limited bool  // somebody has had to wait since the last round
	wants   Class // the highest class that has
	round   int64 // a mark at or past this many bytes ends the round
}

// size is how many bytes may be on their way.
func (w *window) size() int64 {
	switch {
	case w.probing:
		return minWindow
	case w.bytes == 0:
		return firstWindow
	}
	return w.bytes
}

// near tells whether the other end is on the same machine or network, by its round trip.
// What looks like a queue on the way there is mostly a machine that is busy: with less on
// the way, in smaller writes, it would be busier. On a line of 100 Mbit/s the least window
// is a queue of 5 ms.
func (w *window) near(now time.Duration) bool {
	base := w.base
	if q := w.quietRTT(now); q > 0 && (base == 0 || q < base) {
		base = q
	}
	return base > 0 && base < spreadFrom
}

// least is what the window is never smaller than.
func (w *window) least(now time.Duration) int64 {
	if w.near(now) {
		return firstWindow
	}
	return minWindow
}

// piece is how much is written at once at most, and marked, so that there are several
// on the way. To a near end they are a whole window: a mark costs both ends two records
// and four system calls, and is back at once.
func (w *window) piece(now time.Duration) int64 {
	if w.near(now) {
		return w.size()
	}
	return w.size() / marksPerWindow
}

// wait notes that a writer has to wait.
func (w *window) wait(now time.Duration, class Class) {
	if !w.limited || class < w.wants {
		w.wants = class
	}
	w.limited = true
	if w.base == 0 || now-w.probed >= probeEvery {
		// With a round trip without traffic at hand nothing is gained: the smaller of the
		// two counts, and a window of 16 KiB costs a burst one round trip at each hop of
		// its way.
		w.probing = w.quietRTT(now) == 0
		if !w.probing {
			w.base, w.probed = w.quiet, now
		}
	}
}

// quietRTT is the round trip of the connection without traffic, 0 when it is not
// known.
func (w *window) quietRTT(now time.Duration) time.Duration {
	if now-w.quietAt > quietFor {
		return 0
	}
	return w.quiet
}

// arrived notes a mark that took delay to come back. It was made when at bytes had
// been written and inFlight were on their way; sent have been written by now.
func (w *window) arrived(now, delay time.Duration, at, inFlight, sent int64) {
	delay = max(delay, time.Microsecond)
	if q := w.quietRTT(now); inFlight == 0 && (q == 0 || delay <= q) {
		w.quiet, w.quietAt = delay, now
	}
	if w.probing && inFlight <= minWindow {
		w.probing, w.probed, w.base = false, now, delay
		w.round = sent
		return
	}
	if at < w.round || w.probing {
		return // of before the last change
	}
	if w.base == 0 || delay < w.base {
		w.base = delay
	}
	base := w.base
	if q := w.quietRTT(now); q > 0 {
		base = min(base, q)
	}
	size, least := w.size(), w.least(now)
	allowed := base + base/4 + queueTarget[w.wants]
	if inFlight >= size*3/4 && inFlight < size {
		inFlight = size // but for the end of it, in which no chunk has room
	}
	next := int64(float64(inFlight) * float64(allowed) / float64(delay))
	switch {
	case delay > allowed && inFlight <= least:
		return // the queue is not of our making
	case delay > allowed:
		w.steady = true
	case !w.limited || inFlight < size/2:
		return // there is room, but too little was on the way to tell how much
	case !w.steady:
		next = 2 * inFlight
	}
	if delay <= allowed && next <= size {
		return
	}
	next = min(max(next, size/2), size*2)
	w.bytes = min(max(next, least), maxWindow)
	w.round, w.limited = sent, false
}
