package peers

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// merit is what a session peer has been good for. What was counted since the
// last look waits in atomics, so that no message takes a lock.
type merit struct {
	fresh    atomic.Uint64 // weights of useful messages
	answered atomic.Uint64
	failed   atomic.Uint64

	// Guarded by Manager.mu.
	useful float64
	at     time.Time
}

// Useful counts n messages that were accepted, and that this peer was the first
// to bring, times the weight of their type. It is cheap and never waits.
func (t *Admission) Useful(n, weight uint64) { t.merit.fresh.Add(n * max(weight, 1)) }

// unansweredWeight is what a request costs a peer that it does not answer in time:
// little, it may have much to do.
const unansweredWeight = 1

// Answered counts a request that the peer answered, or one that it did not answer
// in time; that is held against it as well.
func (t *Admission) Answered(ok bool) {
	if ok {
		t.merit.answered.Add(1)
		return
	}
	t.merit.failed.Add(1)
	t.m.Report(t.p, "a request was not answered in time", unansweredWeight)
}

// gatherLocked brings the sum of useful messages up to date.
func (x *merit) gatherLocked(now time.Time) float64 {
	x.useful = fade(x.useful, now.Sub(x.at)) + float64(x.fresh.Swap(0))
	x.at = now
	return x.useful
}

// inherit takes over what the peer has shown in a session that this one takes the
// place of.
func (x *merit) inherit(old *merit, now time.Time) {
	x.useful, x.at = old.gatherLocked(now), now
	x.answered.Add(old.answered.Load())
	x.failed.Add(old.failed.Load())
}

// recordLocked is what the peer of a live admission has shown.
func (m *Manager) recordLocked(t *Admission, now time.Time) record {
	measured := m.cfg.Measure(t.p)
	s, _ := m.scores.get(t.p)
	return record{
		useful: t.merit.gatherLocked(now), rtt: measured.RTT, age: now.Sub(t.since), gossip: measured.Gossip,
		answered: float64(t.merit.answered.Load()), failed: float64(t.merit.failed.Load()), penalty: s.now(now),
	}
}

// incumbentsLocked are the session peers as replacement sees them.
func (m *Manager) incumbentsLocked(now time.Time, inbound bool) []incumbent {
	var all []incumbent
	for p, e := range m.entries {
		if e.live == nil || inbound && e.live.dir != network.DirInbound {
			continue
		}
		r := m.recordLocked(e.live, now)
		all = append(all, incumbent{
			id: p, group: m.groupOf(e.live.ip), safe: m.targets[p] != nil,
			age: r.age, rtt: r.rtt, value: r.value(),
		})
	}
	return all
}

// replaceRate bounds how often a session gives way to a newcomer.
var replaceRate = tokenbucket.Rate{PerSecond: 0.1, Burst: 4}

// replaceForLocked tells whether a session is worth less than an inbound peer. With
// take it is ended and its slot free.
func (m *Manager) replaceForLocked(t *Admission, now time.Time, take bool) (after []func(), ok bool) {
	n := newcomer{group: m.groupOf(t.ip)}
	if e := m.book.Get(t.p); e != nil {
		n.useful = e.Useful
	}
	if !n.group.IsValid() && n.useful == 0 {
		return nil, false
	}
	b := m.replacing
	if !b.Take(replaceRate, now, 1) {
		return nil, false
	}
	id, found := victim(m.incumbentsLocked(now, true), n)
	if !found || !take {
		return nil, found
	}
	m.replacing = b
	m.cfg.Obs.Counter(obs.PeersReplaced).Inc(1)
	return []func(){m.endLocked(m.entries[id].live, handshake.ReasonTooManyPeers, false)}, true
}

// trimLocked ends sessions that do not fit the limits any more.
func (m *Manager) trimLocked() []func() {
	var after []func()
	now := time.Now()
	for _, inbound := range []bool{true, false} {
		over := -m.slotsLocked().free()
		if inbound {
			over = m.inbound - m.limits.maxInbound()
		}
		all := m.incumbentsLocked(now, inbound)
		for ; over > 0; over-- {
			worst := -1
			for i, s := range all {
				if !s.safe && (worst < 0 || s.value.Total() < all[worst].value.Total()) {
					worst = i
				}
			}
			if worst < 0 {
				break
			}
			after = append(after, m.endLocked(m.entries[all[worst].id].live, handshake.ReasonTooManyPeers, false))
			all[worst].safe = true // gone
		}
	}
	return after
}

// arrivedLocked notes a session that has been made.
func (m *Manager) arrivedLocked(t *Admission) {
	now := time.Now()
	t.merit.at = now
	if t.dir == network.DirOutbound {
		if m.book.Get(t.p) == nil && t.remote != nil && t.direct() { // the program dialled it by an address of its own
			m.book.Add(now, book.Told{Peer: peer.AddrInfo{ID: t.p, Addrs: []ma.Multiaddr{t.remote}}, Source: book.FromApplication})
		}
		m.book.Reached(now, t.p, t.remote)
	} else {
		m.book.Met(now, t.p)
	}
	if m.liveIn+m.liveOut > 1 {
		return
	}
	// The network is back: what failed without it is tried anew, not all at once.
	m.hurryLocked(now, 2*time.Second)
}

// hurryLocked brings forward what waits, to within a time.
func (m *Manager) hurryLocked(now time.Time, within time.Duration) {
	soon := func() time.Time { return now.Add(time.Duration(m.cfg.Rand() * float64(within))) }
	m.book.Retry(func(e *book.Entry) (time.Time, bool) { return soon(), ours(handshake.Reason(e.Reason)) })
	for _, t := range m.targets {
		if at := soon(); t.due.After(at) && t.blameless {
			t.due = at
		}
	}
}

// NetworkChanged tries soon what failed: this node has another address.
func (m *Manager) NetworkChanged() {
	m.mu.Lock()
	m.hurryLocked(time.Now(), 2*time.Second)
	m.mu.Unlock()
	m.kick()
}

// departedLocked works out what a peer was worth that leaves.
func (m *Manager) departedLocked(t *Admission) {
	r := m.recordLocked(t, time.Now())
	m.last = departure{t.p, r.value().Useful}
}

// departure is the session that ended last, until its end is planned.
type departure struct {
	p      peer.ID
	useful float64
}

func (m *Manager) lastValue(p peer.ID) float64 {
	if m.last.p != p {
		return 0
	}
	return m.last.useful
}

// lonelyLocked tells that there is no session with anybody.
func (m *Manager) lonelyLocked() bool { return m.liveIn+m.liveOut == 0 }

// groupOf is the neighbourhood of an address, the zero one for those that are
// exempt: in one machine, and in private networks unless PublicOnly, all peers
// may be neighbours.
func (m *Manager) groupOf(ip netip.Addr) netip.Prefix {
	if !ip.IsValid() || ip.IsLoopback() || !m.cfg.PublicOnly && (ip.IsPrivate() || ip.IsLinkLocalUnicast()) {
		return netip.Prefix{}
	}
	return book.GroupOf(ip)
}

// finite keeps what a caller reports from spoiling sums.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
