package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// excessEvery is the least time between two Crowded events of one peer.
const excessEvery = time.Minute

// excessRate bounds the Crowded events of all peers together: whoever makes
// keys makes peers, and must not push other events out of a subscription.
var excessRate = tokenbucket.Rate{PerSecond: 0.2, Burst: 16}

// maxExcess bounds the peers whose last Crowded event is remembered. The rate
// makes fewer within excessEvery, so that none is forgotten too early.
const maxExcess = 64

// excess remembers who was told of as crowded, and when.
type excess struct {
	all  tokenbucket.Bucket
	last *bounded[peer.ID, time.Time]
}

func newExcess() excess {
	return excess{last: newBounded[peer.ID](maxExcess, time.Time.Before)}
}

// take tells whether a further attempt of a crowded peer is worth an event.
func (c *excess) take(p peer.ID, now time.Time) (ok bool) {
	if at, told := c.last.get(p); told && now.Sub(at) < excessEvery {
		return false
	}
	if ok = c.all.Take(excessRate, now, 1); ok {
		c.last.put(p, now)
	}
	return ok
}

func (c *excess) sweep(now time.Time) {
	c.last.sweep(func(at time.Time) bool { return now.Sub(at) >= excessEvery })
}

// NoteCrowded tells that a peer with as many connections as it may have tried
// to open another: its key may be in use on several machines. It makes a
// Crowded event at most once a minute per peer, and a bounded number in all.
// It is safe to call from the host's callbacks.
func (m *Manager) NoteCrowded(p peer.ID, remote ma.Multiaddr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.excess.take(p, time.Now()) {
		return
	}
	m.cfg.Obs.Counter(obs.Crowded).Inc(1)
	m.publishLocked(Event{Kind: Crowded, Peer: p, Direction: network.DirInbound})
	m.cfg.Obs.Log("peers").WithField("peer", p).WithField("remote", remote).
		Debug("too many connections with one peer")
}
