package testnet

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Link is one direction of the path between two nodes.
type Link struct {
	// Latency of one way.
	Latency time.Duration
	// Jitter is added to each segment, uniformly from [0, Jitter). Segments of
	// one connection stay in order.
	Jitter time.Duration
	// Loss is the probability, 0 to 1, that a segment has to be sent again,
	// which costs a retransmission timeout: 200 ms or two round trips, doubled
	// at each further loss, five times at most. A segment is one Write, or each
	// 16 KiB of a longer one. Of a dial it is the chance that an attempt goes
	// unanswered.
	Loss float64
}

const (
	segmentSize = 16 << 10
	minRTO      = 200 * time.Millisecond
	maxLosses   = 5
	synRTO      = time.Second
)

// rto is the first retransmission timeout, two round trips by the link's own
// latency.
func (l Link) rto() time.Duration { return max(minRTO, 4*l.Latency) }

// delay draws how long one segment takes from node to node, and whether it had
// to be sent again.
func (l Link) delay(rng *rand.Rand, maxRTO time.Duration) (d time.Duration, lost bool) {
	d = l.Latency
	if l.Jitter > 0 {
		d += time.Duration(rng.Int64N(int64(l.Jitter)))
	}
	if l.Loss <= 0 {
		return d, false
	}
	rto := l.rto()
	for range maxLosses {
		if rng.Float64() >= l.Loss {
			break
		}
		lost = true
		d += min(rto, maxRTO)
		rto *= 2
	}
	return d, lost
}

// retransmitAt returns the first instant not before now at which a sender that
// has had no acknowledgment since stalled tries again: rto after stalled, then
// after pauses that double up to maxRTO.
func retransmitAt(stalled, now time.Time, rto, maxRTO time.Duration) time.Time {
	pause := min(rto, maxRTO)
	at := stalled.Add(pause)
	for at.Before(now) {
		pause = min(2*pause, maxRTO)
		if pause == maxRTO {
			// All further pauses are alike: skip to the last one before now.
			at = at.Add(now.Sub(at) / maxRTO * maxRTO)
			if !at.Before(now) {
				break
			}
		}
		at = at.Add(pause)
	}
	return at
}

// laneRand is the generator of one direction of the ordinal-th connection from
// dialler to acceptor.
func laneRand(seed uint64, dialler, acceptor netip.Addr, ordinal uint64, side int) *rand.Rand {
	h := fnv.New128a()
	var b [17]byte
	binary.BigEndian.PutUint64(b[:8], seed)
	binary.BigEndian.PutUint64(b[8:16], ordinal)
	b[16] = byte(side)
	h.Write(b[:])
	d, a := dialler.As16(), acceptor.As16()
	h.Write(d[:])
	h.Write(a[:])
	sum := h.Sum(nil)
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])))
}
