package netservice

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"

	"github.com/go-nebnet/nebnet/internal/p2phost"
)

// When a session that goes through a relay is tried to be made direct again. libp2p
// tries when the connection through the relay is made, three times, and not again.
const (
	punchFirst  = 30 * time.Second // the most of the first wait; each doubles
	punchMost   = time.Hour
	punchNews   = 2 * time.Minute // the least between two tries that changed addresses bring about
	punchesMost = 4               // under way
)

// punchPlan is when a session is tried, and what came before.
type punchPlan struct {
	tries     int
	last, due time.Time
	busy      bool
}

// next plans the try after this one. A good half of each wait is random: the nodes
// behind one relay should not all punch at one moment, when it comes back.
func (p punchPlan) next(now time.Time, rnd float64) punchPlan {
	wait := min(punchFirst<<min(p.tries, 10), punchMost)
	return punchPlan{tries: p.tries + 1, last: now, due: now.Add(wait/2 + time.Duration(rnd*float64(wait/2)))}
}

// sooner plans it as soon as may be: an address has changed.
func (p punchPlan) sooner(now time.Time) punchPlan {
	soon := p.last.Add(punchNews)
	if soon.Before(now) {
		soon = now
	}
	if soon.Before(p.due) {
		p.due = soon
	}
	return p
}

// repunch makes sessions direct that go through a relay. Of the two sides the one that
// was dialled does: DCUtR has no answer for the other one. It owns a goroutine for each
// try, which ends with the host at the latest.
type repunch struct {
	direct func(peer.ID) error // libp2p's; nil without hole punching
	rand   *rand.Rand          // the sweeper's own
	able   bool                // at the last look; the sweeper's own
	wg     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	plans map[network.Conn]punchPlan
	busy  int
}

func newRepunch(rng *rand.Rand) *repunch {
	return &repunch{rand: rng, plans: make(map[network.Conn]punchPlan)}
}

// look tries those that are due of the connections with a session. It is called by the
// sweeper, and by nobody once the host is about to close.
func (r *repunch) look(able bool, conns []network.Conn, now time.Time) {
	was := r.able
	r.able = able
	if r.direct == nil || !able || !was {
		return // libp2p would wait for an address of its own, even when it closes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.plans {
		if !slices.Contains(conns, c) {
			delete(r.plans, c)
		}
	}
	for _, c := range conns {
		if !p2phost.Relayed(c.RemoteMultiaddr()) || c.Stat().Direction != network.DirInbound {
			continue
		}
		p, planned := r.plans[c]
		switch {
		case !planned:
			r.plans[c] = p.next(now, r.rand.Float64())
		case !p.busy && !now.Before(p.due) && r.busy < punchesMost:
			p = p.next(now, r.rand.Float64())
			p.busy = true
			r.plans[c] = p
			r.busy++
			r.wg.Go(func() { r.try(c) })
		}
	}
}

func (r *repunch) try(c network.Conn) {
	_ = r.direct(c.RemotePeer()) // it comes of it that there is another connection, or none
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy--
	if p, ok := r.plans[c]; ok {
		p.busy = false
		r.plans[c] = p
	}
}

// changed tells that addresses have changed: of a peer, or of this node when it is
// empty.
func (r *repunch) changed(who peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, p := range r.plans {
		if who == "" || c.RemotePeer() == who {
			r.plans[c] = p.sooner(time.Now())
		}
	}
}

// repunch has the sweeper's look at the sessions.
func (s *peerSet) repunch() {
	conns := make([]network.Conn, 0, len(s.all()))
	for _, k := range s.all() {
		conns = append(conns, k.conn)
	}
	able := slices.Contains(s.n.host.Mux().Protocols(), holepunch.Protocol)
	s.n.repunch.look(able, conns, time.Now())
}
