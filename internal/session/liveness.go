package session

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// pingInterval is that of the side that opened the session; the other one waits a
// third longer. A ping is a sign of life for both, so that an idle session costs
// one exchange and not two.
func pingInterval(d time.Duration, control network.Stream) time.Duration {
	if control.Stat().Direction == network.DirInbound {
		return d + d/3
	}
	return d
}

// Heard notes a sign of life of the peer that came on another stream than the
// session's own.
func (s *Session) Heard() { s.touch() }

// liveness decides when a session is pinged and when it is given up. It has no
// clock: times are durations since the session began.
type liveness struct {
	interval, timeout time.Duration
	waiting           bool          // a ping is out and nothing has come since
	pingAt            time.Duration // when the last one was sent
}

// newLiveness is for a session that begins with a ping, to measure the round trip.
// The peer need not answer that one in time: it may still be busy with the end of
// the handshake.
func newLiveness(interval, timeout time.Duration) liveness {
	return liveness{interval: interval, timeout: timeout}
}

// measureEvery is how old the last ping gets at most, so that the round trip is
// known of sessions with traffic too.
const measureEvery = 30 * time.Second

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
	if left := l.interval - (now - lastLife); left > 0 && now-l.pingAt < measureEvery {
		return liveWait, left
	}
	l.waiting, l.pingAt = true, now
	// The answer changes what is due, so look again before the timeout.
	return livePing, min(l.timeout, l.interval)
}
