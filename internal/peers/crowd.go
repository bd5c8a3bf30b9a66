package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// crowdedEvery is the least time between two Crowded events of one peer.
const crowdedEvery = time.Minute

// crowdedRate bounds the Crowded events of all peers together: whoever makes
// keys makes peers, and must not push other events out of a subscription.
var crowdedRate = tokenbucket.Rate{PerSecond: 0.2, Burst: 16}

// maxCrowds bounds the peers whose last Crowded event is remembered. The rate
// makes fewer within crowdedEvery, so that none is forgotten too early.
const maxCrowds = 64

// crowds remembers who was told of as crowded, and when.
type crowds struct {
	all  tokenbucket.Bucket
	last *bounded[peer.ID, time.Time]
}

func newCrowds() crowds {
	return crowds{last: newBounded[peer.ID](maxCrowds, time.Time.Before)}
}

// take tells whether a further attempt of a crowded peer is worth an event.
func (c *crowds) take(p peer.ID, now time.Time) (ok bool) {
	if at, told := c.last.get(p); told && now.Sub(at) < crowdedEvery {
		return false
	}
	if ok = c.all.Take(crowdedRate, now, 1); ok {
		c.last.put(p, now)
	}
	return ok
}

func (c *crowds) sweep(now time.Time) {
	c.last.sweep(func(at time.Time) bool { return now.Sub(at) >= crowdedEvery })
}

// NoteCrowded tells that a peer with as many connections as it may have tried
// to open another: its key may be in use on several machines. It makes a
// Crowded event at most once a minute per peer, and a bounded number in all.
// It is safe to call from the host's callbacks.
func (m *Manager) NoteCrowded(p peer.ID, remote ma.Multiaddr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.crowds.take(p, time.Now()) {
		return
	}
	m.cfg.Obs.Counter(obs.Crowded).Inc(1)
	m.publishLocked(Event{Kind: Crowded, Peer: p, Direction: network.DirInbound})
	m.cfg.Obs.Log("peers").WithField("peer", p).WithField("remote", remote).
		Debug("too many connections with one peer")
}
