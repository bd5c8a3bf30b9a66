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
	// Jitter is added to each segment, uniformly from [0, Jitter), the same to those
	// of a connection that leave at one instant. They stay in order.
	Jitter time.Duration
	// Loss is the probability, 0 to 1, that a segment has to be sent again,
	// which costs a retransmission timeout: 200 ms or two round trips, doubled
	// at each further loss, five times at most. A segment is what a connection writes
	// at one instant, or each 16 KiB of it. Of a dial it is the chance that an attempt
	// goes unanswered.
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
func (l Link) delay(rng *rand.Rand, jitter float64, maxRTO time.Duration) (d time.Duration, lost bool) {
	d = l.Latency + time.Duration(jitter*float64(l.Jitter))
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

// laneKey tells the generators of one lane from those of others.
type laneKey [2]uint64

// newLaneKey is that of one direction of the ordinal-th connection from dialler to
// acceptor.
func newLaneKey(seed uint64, dialler, acceptor netip.Addr, ordinal uint64, side int) laneKey {
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
	return laneKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// at is the generator of an instant. With one for the life of the lane, a write more
// or less, or two at once in the other order, would change everything that follows.
func (k laneKey) at(t time.Time) *rand.Rand {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano())))
	return rand.New(rand.NewPCG(k[0], k[1]^h.Sum64()))
}

// draws is what is drawn for what leaves on a lane at one instant.
type draws struct {
	at     time.Time
	link   Link       // it may be set anew within the instant
	rng    *rand.Rand // nil before the first
	jitter float64    // as a part of Link.Jitter
	bytes  int        // that have left
	piece  int        // of segmentSize bytes, for which the rest was drawn
	delay  time.Duration
	lost   bool
}

// delay is Link.delay for the next n bytes that leave at t. Those of one instant have
// one fate, up to the size of a segment: whether they are one write or several, and in
// which order, is up to the scheduler.
func (l *lane) delay(link Link, t time.Time, n int, maxRTO time.Duration) (time.Duration, bool) {
	d := &l.draws
	if d.rng == nil || !t.Equal(d.at) || link != d.link {
		*d = draws{at: t, link: link, rng: l.key.at(t), piece: -1}
		d.jitter = d.rng.Float64()
	}
	if piece := d.bytes / segmentSize; piece != d.piece {
		d.piece = piece
		d.delay, d.lost = link.delay(d.rng, d.jitter, maxRTO)
	}
	d.bytes += n
	return d.delay, d.lost
}

// resetDelay is how long a reset takes that is sent at t: it is not sent again.
func (l *lane) resetDelay(t time.Time) time.Duration {
	l.delay(l.link, t, 0, 0)
	return l.link.Latency + time.Duration(l.draws.jitter*float64(l.link.Jitter))
}
