package session

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// newLiveness is for a session that begins with a ping, to measure the round trip.
// The peer need not answer that one in time: it may still be busy with the end of
// the handshake. since is how old the engine is when the session begins.
//
// The side that was dialled pings; the other one waits a third longer. A ping is a
// sign of life for both, so that an idle session costs one exchange and not two. The
// pings of one engine go out at moments that are a third of the interval apart, rather
// early than late: to wake up costs a processor several times what a ping does, and
// who has many peers was dialled by most of them.
func newLiveness(d, timeout time.Duration, dir network.Direction, since time.Duration) liveness {
	if dir == network.DirInbound {
		return liveness{interval: d, timeout: timeout, apart: max(d/3, 1), since: since}
	}
	return liveness{interval: d + d/3, timeout: timeout, apart: 1}
}

// liveness decides when a session is pinged and when it is given up. It has no
// clock: times are durations since the session began.
type liveness struct {
	interval, timeout time.Duration
	apart, since      time.Duration // moments for pings are so far apart, since the engine began
	waiting           bool          // a ping is out and nothing has come since
	pingAt            time.Duration // when the last one was sent
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
	if left := l.due(lastLife) - now; left > 0 && now-l.pingAt < measureEvery {
		return liveWait, left
	}
	l.waiting, l.pingAt = true, now
	// The answer changes what is due, so look again before the timeout.
	return livePing, min(l.timeout, l.interval)
}

// due is the last moment for pings before the peer has been silent for interval.
func (l *liveness) due(lastLife time.Duration) time.Duration {
	at := lastLife + l.interval
	return at - (l.since+at)%l.apart
}
