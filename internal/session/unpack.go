package session

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

// What a peer's bytes become is bounded as they are: a compressed frame of twenty
// bytes could stand for megabytes, and cost the receiver memory and time for
// which the sender pays nothing.
const (
	// A compressed body may stand for so many times its length, and for some more,
	// so that no short one is cut off. What shrinks by more is sent as it is.
	unpackRatio = 1024
	unpackFree  = 4 << 10
	// unpackBatch is about how many bytes of unpacked messages are handed over at
	// once.
	unpackBatch = 1 << 20
	// usualRatio is by how much payloads of honest programs shrink. What unpacks to
	// more is slowed down, by an account for each peer and one for all of them: so
	// many bytes a second, and so many at once.
	usualRatio = 16
	mostDebt   = 4 // times the burst: nobody waits for longer than a stream may stand still
)

var (
	peerUnpackRate  = tokenbucket.Rate{PerSecond: 8 << 20, Burst: 32 << 20}
	totalUnpackRate = tokenbucket.Rate{PerSecond: 64 << 20, Burst: 128 << 20}
)

// mostUnpacked is how many bytes a compressed body may stand for.
func mostUnpacked(body int) int {
	if body > (math.MaxInt32-unpackFree)/unpackRatio {
		return math.MaxInt32
	}
	return unpackFree + unpackRatio*body
}

// unpackAccount is that of all peers.
type unpackAccount struct {
	mu    sync.Mutex // guards total, and the accounts of the peers
	total tokenbucket.Bucket
}

// take books what a peer's message unpacks to, or tells how long to wait. It may
// overdraw: a single message can be larger than all that is ever in an account.
func (u *unpackAccount) take(peer *tokenbucket.Bucket, now time.Time, n int) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if wait := max(peer.Wait(peerUnpackRate, now, 1), u.total.Wait(totalUnpackRate, now, 1)); wait > 0 {
		return wait + time.Millisecond
	}
	peer.Owe(peerUnpackRate, now, float64(n), mostDebt)
	u.total.Owe(totalUnpackRate, now, float64(n), mostDebt)
	return 0
}

// mayUnpack waits until a frame of so many bytes may be unpacked. What came before
// it is handed over first.
func (r *reader) mayUnpack(h header, size int) error {
	excess := h.raw - usualRatio*size
	if excess <= 0 {
		return nil
	}
	for {
		wait := r.s.e.unpacked.take(&r.s.unpacked, time.Now(), excess)
		if wait == 0 {
			return nil
		}
		if err := r.deliver(); err != nil {
			return err
		}
		if !lifecycle.Sleep(r.s.ctx, wait) {
			return context.Cause(r.s.ctx)
		}
	}
}
