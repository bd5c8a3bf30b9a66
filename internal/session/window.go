package session

import "time"

// Bytes that the transport has taken can no longer be overtaken: they wait in
// the multiplexer, in the kernel, in a router. So a stream keeps only as much
// on its way as the connection carries in its round trip and a little more.
// Receivers acknowledge what they have read (SPEC.md), and the time that takes
// tells how long the queue is: a delay-based window, as of LEDBAT (RFC 6817).
const (
	// ackUnit is how many bytes one acknowledgement counts.
	ackUnit = 4 << 10
	// minWindow is never undercut, so that nothing is starved.
	minWindow = 64 << 10
	// maxWindow is that of yamux; high priority always has it.
	maxWindow = 16 << 20
	// probeEvery is how often the delay without a queue of this stream's own
	// is measured again.
	probeEvery = 10 * time.Second
)

// queueTarget is how much delay by queueing each class allows itself, beside a
// quarter of the round trip, whose jitter is no queue. A class gives way to
// another that allows more.
var queueTarget = [classes]time.Duration{time.Hour, 100 * time.Millisecond, 10 * time.Millisecond}

// window bounds what one type has on its way. It has no clock: times are
// durations since the session began.
type window struct {
	size    int64         // bytes
	base    time.Duration // delay with at most minWindow on the way
	probed  time.Duration // when base was measured
	probing bool          // base is being measured

	// A round measures the delay of one unit. It is armed when the sender has to
	// wait, and runs from the write that completes the unit to its
	// acknowledgement.
	state    roundState
	offset   int64 // end of the unit
	began    time.Duration
	inFlight int64 // when it began
}

type roundState uint8

const (
	roundNone roundState = iota
	roundArmed
	roundRunning
)

// limit is how many bytes may be on their way.
func (w *window) limit(class int) int64 {
	switch {
	case class == 0:
		return maxWindow
	case w.probing || w.size < minWindow:
		return minWindow
	}
	return w.size
}

// wait notes that the sender has to wait.
func (w *window) wait(now time.Duration, sent int64) {
	if w.state != roundNone {
		return
	}
	if w.base == 0 || now-w.probed >= probeEvery {
		w.probing = true
	}
	w.state, w.offset = roundArmed, (sent/ackUnit+1)*ackUnit
}

// wrote notes a write that began at the given time.
func (w *window) wrote(at time.Duration, sent, acked int64) {
	if w.state == roundArmed && sent >= w.offset {
		w.state, w.began, w.inFlight = roundRunning, at, sent-acked
	}
}

// ack notes what has been acknowledged, and at the end of a round sizes the
// window by what it measured. quiet is the round trip of the connection without
// traffic, 0 when that is not known.
func (w *window) ack(now time.Duration, class int, acked int64, quiet time.Duration) {
	if w.state != roundRunning || acked < w.offset {
		return
	}
	w.state = roundNone
	delay := max(now-w.began, time.Microsecond)
	if w.probing {
		if w.inFlight > minWindow {
			return // still draining
		}
		w.probing, w.probed, w.base = false, now, delay
		w.size = max(w.size, minWindow)
		return
	}
	w.base = min(w.base, delay)
	base := w.base
	if quiet > 0 {
		base = min(base, quiet)
	}
	next := float64(w.size) * float64(base+base/4+queueTarget[class]) / float64(delay)
	next = min(max(next, float64(w.size)/2), float64(w.size)*2)
	w.size = min(max(int64(next), minWindow), maxWindow)
}

// idle ends a round that would measure how long the sender had nothing to say.
func (w *window) idle() { w.state = roundNone }
