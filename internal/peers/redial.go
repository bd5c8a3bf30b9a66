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
	// restarting; of a peer that is to be kept.
	backoffSoon = backoff{floor: 250 * time.Millisecond, base: time.Second, max: 30 * time.Second}
	// backoffOther is the same for peers that others can take the place of.
	backoffOther = backoff{floor: time.Second, base: 4 * time.Second, max: time.Hour}
	// backoffLonely is for when there is no session at all: the network of this
	// node may be away, and nobody is to blame.
	backoffLonely = backoff{floor: time.Second, base: 2 * time.Second, max: 12 * time.Second}
	// backoffLater is for a peer that is well and does not want us now.
	backoffLater = backoff{floor: 15 * time.Second, base: 30 * time.Second, max: 10 * time.Minute}
	// backoffMuchLater is for a peer that misbehaved, or thinks that we did.
	backoffMuchLater = backoff{floor: 5 * time.Minute, base: 10 * time.Minute, max: time.Hour}
	// backoffPermanent is for a peer of another chain or version or with another
	// key, which only a new program or configuration at one end changes.
	backoffPermanent = backoff{floor: 10 * time.Minute, base: 30 * time.Minute, max: 2 * time.Hour}
)

// stableAfter is how long a session must have lived to end a row of failures.
const stableAfter = 30 * time.Second

// yield is how much longer a node waits to dial a peer that had dialled it: of two
// that lost each other the one that dialled tries first, or they would meet with
// two connections.
const yield = 10 * time.Second

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

// ending is how an attempt or a session with a peer ended.
type ending struct {
	reason     handshake.Reason
	byRemote   bool
	persistent bool          // one to keep
	proven     bool          // a dial of it succeeded once
	stranger   bool          // another peer answers at every address that answers
	lonely     bool          // there is no session with anybody
	ownLimit   bool          // this node's host refused the attempt
	moved      bool          // the attempt was at addresses that a newer record has replaced
	failures   int           // in a row before this one
	lived      time.Duration // of the session, 0 for an attempt
	took       time.Duration // the attempt
	inbound    bool          // the peer had dialled
}

// counts tells whether an attempt says something of the peer, and not of this
// node's connection or of its own lack of places and means.
func (e ending) counts() bool {
	if e.reason == handshake.ReasonTooManyPeers {
		return e.byRemote
	}
	return !e.ownLimit && !e.moved && !(e.lonely && ours(e.reason))
}

// next is what to do with a peer after an ending.
type next struct {
	after    time.Duration // before the next attempt
	failures int
	forget   bool // and avoid it until then
}

// ours tells of a reason that may lie in this node's own connection.
func ours(r handshake.Reason) bool {
	switch r {
	case handshake.ReasonUnreachable, handshake.ReasonTimeout, handshake.ReasonTransportLost, handshake.ReasonPingTimeout:
		return true
	}
	return false
}

// redial decides when a peer is dialled again. One to keep is dialled again
// whatever happened. Any other is forgotten when it can never be one of ours, so
// that no discovery brings it back soon; one that said no waits as long as any.
// The book gives up those that are tried in vain too often. One at whose addresses
// another peer answers is not forgotten: its newer record is known by the older one.
func redial(e ending, rnd float64) next {
	failures := e.failures + 1
	if e.lived >= stableAfter {
		failures = 0
	}
	if e.moved { // nothing is known of where the peer is now
		return next{failures: e.failures}
	}
	b := backoffFor(e.reason)
	switch {
	case e.stranger, e.reason == handshake.ReasonRequested && !e.byRemote && !e.persistent:
		b = backoffPermanent
	case b != backoffSoon:
	case e.lonely && ours(e.reason) && e.lived == 0:
		b = backoffLonely
	case e.persistent:
	case e.ownLimit:
		b = backoffLater
	case e.reason == handshake.ReasonRequested: // its application did not want us
		b = backoffLater
	default:
		b = backoffOther
	}
	after := b.delay(max(failures-1, 0), rnd)
	if !e.persistent && !e.lonely {
		// After the loss of many, those that are gone would have all dials all the time.
		after += e.took
	}
	if e.inbound && !e.persistent {
		after += yield
	}
	return next{
		after:    after,
		failures: failures,
		forget:   !e.persistent && (e.reason.Permanent() || e.reason == handshake.ReasonNotNebnet && !e.proven),
	}
}
