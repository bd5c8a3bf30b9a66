package discovery

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

const (
	maxSources    = 1024 // peers whose share of the hour is remembered
	maxOffers     = 4096 // candidates remembered as handed on
	maxOfferAgain = time.Hour
)

// outcome is what becomes of a candidate; it is its metric label too.
type outcome string

const (
	accepted     outcome = "accepted"
	dropSelf     outcome = "self"
	dropMember   outcome = "member"
	dropAddress  outcome = "address"
	dropRepeated outcome = "repeated"
	dropSource   outcome = "source"
	dropRecord   outcome = "record"
)

// intake bounds what others can make this node dial: a peer tells of so many
// candidates in an hour, and a candidate is handed on once in a while. It
// forgets the oldest entries when it is full and has no clock of its own.
type intake struct {
	perSource int
	again     time.Duration
	sources   *lru.Cache[peer.ID, *tokenbucket.Bucket]
	offers    *lru.Cache[peer.ID, offer]
}

type offer struct {
	seq   uint64 // of the newest record that was handed on
	pause time.Duration
	until time.Time // not before
}

func newIntake(perSource int, again time.Duration) *intake {
	return &intake{
		perSource: perSource, again: again,
		sources: newLRU[*tokenbucket.Bucket](maxSources),
		offers:  newLRU[offer](maxOffers),
	}
}

// newLRU returns a cache of size entries, which is above 0: the one case in
// which lru.New fails.
func newLRU[V any](size int) *lru.Cache[peer.ID, V] {
	c, _ := lru.New[peer.ID, V](size)
	return c
}

// admit decides whether a candidate that from tells of, by its record of that number,
// is handed on now. A newer record than the one that was is no repetition: whoever
// repeats a peer's old addresses must not keep its new ones out. Only an accepted one
// counts against the source.
func (in *intake) admit(now time.Time, from, candidate peer.ID, seq uint64) outcome {
	o, ok := in.offers.Get(candidate)
	if ok && now.Before(o.until) && seq <= o.seq {
		return dropRepeated
	}
	share, known := in.sources.Get(from)
	if !known {
		share = new(tokenbucket.Bucket)
		in.sources.Add(from, share)
	}
	most := float64(in.perSource)
	if !share.Take(tokenbucket.Rate{PerSecond: most / time.Hour.Seconds(), Burst: most}, now, 1) {
		return dropSource
	}
	if !ok {
		o.pause = in.again
	} else {
		o.pause = min(2*o.pause, maxOfferAgain)
	}
	o.seq = max(o.seq, seq)
	o.until = now.Add(o.pause)
	in.offers.Add(candidate, o)
	return accepted
}

// met forgets that a candidate was handed on: it led to a session.
func (in *intake) met(p peer.ID) { in.offers.Remove(p) }
