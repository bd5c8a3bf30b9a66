package reqresp

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Candidate is a peer that may be asked.
type Candidate struct {
	Peer peer.ID
	RTT  time.Duration // 0: not known
}

// experience is how a peer's answers of one method were so far.
type experience struct {
	latency   time.Duration // smoothed; 0: none
	failures  float64       // as of at; half of them is forgotten in each failureHalf
	at        time.Time
	busyUntil time.Time
	underWay  int
}

const (
	failureHalf = time.Minute
	failureCost = 4 // a failure of late counts as much as answers that take five times as long
	// unknownLatency stands for what is not known: below that of a peer that is
	// known to be slow, so that newcomers are tried.
	unknownLatency = 100 * time.Millisecond
	busyAtLeast    = 100 * time.Millisecond
)

func (x *experience) failing(now time.Time) float64 {
	return x.failures * math.Exp2(-float64(now.Sub(x.at))/float64(failureHalf))
}

// answered and failed add an outcome.
func (x *experience) answered(took time.Duration, now time.Time) {
	if x.latency == 0 {
		x.latency = took
	} else {
		x.latency += (took - x.latency) / 4
	}
	x.failures, x.at = x.failing(now)/2, now
}

func (x *experience) failed(now time.Time) {
	x.failures, x.at = x.failing(now)+1, now
}

func (x *experience) busy(after time.Duration, now time.Time) {
	x.busyUntil = now.Add(max(after, busyAtLeast))
}

// expected is how long an answer may take, with what has gone wrong of late put in
// as time.
func (x *experience) expected(rtt time.Duration, now time.Time) float64 {
	base := float64(cmp.Or(x.latency, 2*rtt, unknownLatency))
	return base * (1 + float64(x.underWay)) * (1 + failureCost*x.failing(now))
}

// rank orders candidates, the best one first: those that are not busy, by how long
// their answer is expected to take. vary spreads those that are alike: it gives
// numbers from 0 to 1.
func rank(cs []Candidate, known func(peer.ID) experience, now time.Time, vary func() float64) []peer.ID {
	type scored struct {
		peer peer.ID
		busy bool
		cost float64
	}
	all := make([]scored, len(cs))
	for i, c := range cs {
		x := known(c.Peer)
		all[i] = scored{c.Peer, x.busyUntil.After(now), x.expected(c.RTT, now) * (1 + vary()/4)}
	}
	slices.SortFunc(all, func(a, b scored) int {
		if a.busy != b.busy {
			if a.busy {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.cost, b.cost)
	})
	ids := make([]peer.ID, len(all))
	for i, s := range all {
		ids[i] = s.peer
	}
	return ids
}
