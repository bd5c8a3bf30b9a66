package session

import "time"

// liveness decides when a session is pinged and when it is given up. It has no
// clock: times are durations since the session began.
type liveness struct {
	interval, timeout time.Duration
	waiting           bool          // a ping is out and nothing has come since
	pingAt            time.Duration // when it was sent
}

type liveAction int

const (
	liveWait liveAction = iota
	livePing
	liveDead
)

// step tells what to do now and when to ask again. lastLife is when the peer
// last gave a sign of life.
func (l *liveness) step(now, lastLife time.Duration) (liveAction, time.Duration) {
	if l.waiting && lastLife <= l.pingAt {
		if left := l.timeout - (now - l.pingAt); left > 0 {
			return liveWait, min(left, l.interval)
		}
		return liveDead, 0
	}
	l.waiting = false
	if left := l.interval - (now - lastLife); left > 0 {
		return liveWait, left
	}
	l.waiting, l.pingAt = true, now
	// The answer changes what is due, so look again before the timeout.
	return livePing, min(l.timeout, l.interval)
}
