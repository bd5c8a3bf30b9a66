package peers

import (
	"math"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// Waits before the next dial. Attempt n of a row waits a random time between
// floor and min(max, base*2^n), uniformly, so that nodes which lost each other
// at one moment do not come back at one moment.
type backoff struct{ floor, base, max time.Duration }

var (
	// backoffSoon is for what may pass at any time: lost, unreachable, slow,
	// restarting.
	backoffSoon = backoff{floor: 250 * time.Millisecond, base: time.Second, max: 30 * time.Second}
	// backoffLater is for a peer that is well and does not want us now.
	backoffLater = backoff{floor: 15 * time.Second, base: 30 * time.Second, max: 10 * time.Minute}
	// backoffMuchLater is for a peer that misbehaved, or thinks that we did.
	backoffMuchLater = backoff{floor: 5 * time.Minute, base: 10 * time.Minute, max: time.Hour}
	// backoffPermanent is for a peer of another chain or version, which only a
	// new program or configuration at one end changes.
	backoffPermanent = backoff{floor: 10 * time.Minute, base: 30 * time.Minute, max: 2 * time.Hour}
)

const (
	// stableAfter is how long a session must have lived to end a row of
	// failures.
	stableAfter = 30 * time.Second
	// maxAttempts is how often in a row a peer that is not persistent is
	// dialled in vain before it is forgotten.
	maxAttempts = 6
)

// delay is the wait after n failures in a row, with rnd in [0,1).
func (b backoff) delay(n int, rnd float64) time.Duration {
	ceil := b.max
	if f := float64(b.base) * math.Pow(2, float64(min(max(n, 0), 62))); f < float64(b.max) {
		ceil = time.Duration(f)
	}
	return b.floor + time.Duration(rnd*float64(ceil-b.floor))
}

// backoffFor tells how long a reason keeps a node away.
func backoffFor(r handshake.Reason) backoff {
	switch r {
	case handshake.ReasonTooManyPeers, handshake.ReasonApplication, handshake.ReasonNotNebnet,
		handshake.ReasonReplaced, handshake.ReasonRateLimited:
		return backoffLater
	case handshake.ReasonBanned, handshake.ReasonProtocol:
		return backoffMuchLater
	}
	if r.Permanent() {
		return backoffPermanent
	}
	return backoffSoon
}

// ending is how an attempt or a session with a dial target ended.
type ending struct {
	reason     handshake.Reason
	byRemote   bool
	persistent bool
	failures   int           // in a row before this one
	lived      time.Duration // of the session, 0 for an attempt
}

// next is what to do with a dial target after an ending: dial it again after
// a while, or forget it, and avoid it for a while where avoid is not 0.
type next struct {
	again    bool
	after    time.Duration
	failures int
	avoid    time.Duration
}

// redial decides what becomes of a dial target. A persistent peer is dialled
// again whatever happened, unless it is this node itself. Any other peer is
// dialled again only after what may pass soon, maxAttempts times in a row; a
// peer that said no is avoided for the same time, so that discovery does not
// bring it back at once. A peer that the own application closed is forgotten.
func redial(e ending, rnd float64) next {
	failures := e.failures + 1
	if e.lived >= stableAfter {
		failures = 0
	}
	b := backoffFor(e.reason)
	after := b.delay(max(failures-1, 0), rnd)
	switch {
	case e.reason == handshake.ReasonSelf:
		return next{avoid: after}
	case e.persistent:
		return next{again: true, after: after, failures: failures}
	case e.reason == handshake.ReasonRequested && !e.byRemote:
		return next{}
	case b != backoffSoon:
		return next{avoid: after}
	case failures >= maxAttempts:
		return next{}
	}
	return next{again: true, after: after, failures: failures}
}
