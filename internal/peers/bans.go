package peers

import (
	"net/netip"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/sirupsen/logrus"
)

// Bounds of what makes an address banned.
const (
	// offencesToBan is how many bans by score of peers on one address, within
	// offenceMemory, ban the address.
	offencesToBan = 3
	offenceMemory = 24 * time.Hour
)

// offences counts the bans of peers on one address.
type offences struct {
	n     int
	until time.Time // forgotten then
}

func (o offences) before(p offences) bool { return o.until.Before(p.until) }

// growth is how long a ban is that follows so many others.
func growth(base time.Duration, times int) time.Duration {
	d := base
	for range times - 1 {
		if d *= 2; d >= MaxBanDuration {
			return MaxBanDuration
		}
	}
	return d
}

// Ban ends a peer's session and handshakes with ReasonBanned and keeps the
// peer out for a while; a duration of 0 or less is BanDuration. An earlier,
// longer ban stands. A persistent peer is dialled again afterwards.
func (m *Manager) Ban(p peer.ID, d time.Duration, reason string) {
	m.mu.Lock()
	if d <= 0 {
		d = m.cfg.BanDuration
	}
	after := m.banLocked(p, d, reason, false)
	m.mu.Unlock()
	run(after...)
}

// banLocked bans a peer; grows makes the ban longer than those before.
func (m *Manager) banLocked(p peer.ID, d time.Duration, reason string, grows bool) []func() {
	now := time.Now()
	x := book.Ban{ID: p, Since: now, Times: 1, Reason: obs.Clean(reason)}
	old, was := m.book.Ban(p)
	if was && grows {
		x.Times = old.Times + 1
		d = growth(d, x.Times)
	}
	x.Until = now.Add(d)
	if was && old.Until.After(x.Until) {
		x.Until = old.Until
	}
	m.book.SetBan(x)
	m.scores.delete(p)
	m.cfg.Obs.Counter(obs.Bans).Inc(1)
	after := m.dropLocked(p, handshake.ReasonBanned)
	m.publishLocked(Event{Kind: Banned, Peer: p, Reason: handshake.ReasonBanned, Until: x.Until})
	if t := m.targets[p]; t != nil && !t.dialling && t.due.Before(x.Until) {
		t.due = x.Until
	}
	return after
}

// BanNetwork keeps out all peers that connect from a network, and ends the
// sessions of those that do; reserved and persistent peers may stay. A duration
// of 0 or less is BanDuration.
func (m *Manager) BanNetwork(n netip.Prefix, d time.Duration, reason string) {
	m.mu.Lock()
	if d <= 0 {
		d = m.cfg.BanDuration
	}
	after := m.banNetworkLocked(n.Masked(), d, reason)
	m.mu.Unlock()
	run(after...)
}

func (m *Manager) banNetworkLocked(n netip.Prefix, d time.Duration, reason string) []func() {
	now := time.Now()
	x := book.Ban{Prefix: n, Since: now, Times: 1, Reason: obs.Clean(reason), Until: now.Add(d)}
	if old, was := m.book.BanOf(n); was {
		x.Times = old.Times + 1
		if old.Until.After(x.Until) {
			x.Until = old.Until
		}
	}
	m.book.SetBan(x)
	m.refreshNetsLocked(now)
	m.cfg.Obs.Counter(obs.Bans).Inc(1)
	var after []func()
	for p, e := range m.entries {
		for _, t := range e.admissions() {
			if n.Contains(t.ip) && m.targets[p] == nil {
				after = append(after, m.endLocked(t, handshake.ReasonBanned, false))
			}
		}
	}
	return after
}

// UnbanNetwork lifts the ban of a network.
func (m *Manager) UnbanNetwork(n netip.Prefix) {
	m.mu.Lock()
	m.book.UnbanOf(n.Masked())
	m.offences.delete(n.Masked())
	m.refreshNetsLocked(time.Now())
	m.mu.Unlock()
	m.kick()
}

// offendedLocked notes that a peer was banned for what it did, with the addresses
// that it is connected from. An address whose peers are banned again and again is
// banned as well; not one that a peer of the operator's has, too.
func (m *Manager) offendedLocked(ips []netip.Addr) []func() {
	now := time.Now()
	var after []func()
	for _, ip := range ips {
		if ip.IsLoopback() || !m.cfg.PublicOnly && ip.IsPrivate() || m.trustedIPLocked(ip) {
			continue
		}
		addr, _ := neighbourhoods(ip)
		o, ok := m.offences.get(addr)
		if !ok || now.After(o.until) {
			o = offences{}
		}
		o.n++
		o.until = now.Add(offenceMemory)
		m.offences.put(addr, o)
		if o.n >= offencesToBan {
			m.offences.delete(addr)
			times := 1
			if old, was := m.book.BanOf(addr); was {
				times = old.Times + 1
			}
			after = append(after, m.banNetworkLocked(addr, growth(m.cfg.BanDuration, times), "peers at this address were banned again and again")...)
		}
	}
	return after
}

// trustedIPLocked tells whether the operator named a peer at an address.
func (m *Manager) trustedIPLocked(ip netip.Addr) bool {
	for p := range m.targets {
		if e := m.book.Get(p); e != nil {
			for _, a := range e.Multiaddrs() {
				if other, ok := book.IP(a); ok && other == ip {
					return true
				}
			}
		}
	}
	return false
}

// dropLocked ends all there is with a peer.
func (m *Manager) dropLocked(p peer.ID, r handshake.Reason) []func() {
	var after []func()
	if e := m.entries[p]; e != nil {
		for _, t := range e.admissions() {
			after = append(after, m.endLocked(t, r, false))
		}
	}
	return after
}

// Unban lets a peer in again.
func (m *Manager) Unban(p peer.ID) {
	m.mu.Lock()
	m.book.Unban(p)
	m.scores.delete(p)
	if t := m.targets[p]; t != nil && !t.due.IsZero() {
		t.due = time.Now()
	}
	m.mu.Unlock()
	m.kick()
}

// Banned tells until when a peer is banned.
func (m *Manager) Banned(p peer.ID) (until time.Time, banned bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bannedLocked(p, time.Now())
}

// Bans lists the bans that stand, the one that ends first in front.
func (m *Manager) Bans() []book.Ban {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.book.Bans(time.Now())
}

func (m *Manager) bannedLocked(p peer.ID, now time.Time) (time.Time, bool) {
	x, ok := m.book.Ban(p)
	return x.Until, ok && now.Before(x.Until)
}

// bannedIPLocked tells whether an address is in a network that is banned.
func (m *Manager) bannedIPLocked(ip netip.Addr, now time.Time) bool {
	for _, x := range m.nets {
		if x.Prefix.Contains(ip) && now.Before(x.Until) {
			return true
		}
	}
	return false
}

// refreshNetsLocked takes the bans of networks out of the book: there are few,
// and they are asked for with every connection.
func (m *Manager) refreshNetsLocked(now time.Time) {
	m.nets = m.nets[:0]
	for _, x := range m.book.Bans(now) {
		if x.Prefix.IsValid() {
			m.nets = append(m.nets, x)
		}
	}
	m.attempts.setNets(m.nets)
}

// Penalise is Report without words.
func (m *Manager) Penalise(p peer.ID, weight float64) { m.Report(p, "misbehaviour", weight) }

// Report adds to a peer's score, which halves every ten minutes. At BanScore the
// peer is banned, each time for twice as long as the last, and its address as
// well when it repeats; a reserved peer is only disconnected. Weights of 0 or
// less do nothing.
func (m *Manager) Report(p peer.ID, reason string, weight float64) {
	if weight = finite(weight); !(weight > 0) {
		return
	}
	m.mu.Lock()
	after := m.penaliseLocked(p, reason, weight)
	m.mu.Unlock()
	run(after...)
}

func (m *Manager) penaliseLocked(p peer.ID, reason string, weight float64) []func() {
	now := time.Now()
	old, _ := m.scores.get(p)
	s := old.add(weight, now)
	if s.value < BanScore {
		m.scores.put(p, s)
		m.book.Touch()
		return nil
	}
	m.scores.delete(p)
	m.cfg.Obs.WarnLimited("peers", "banned", logrus.Fields{"peer": p, "reason": obs.Clean(reason)}, "peer misbehaved and is disconnected")
	if m.reservedLocked(p) {
		return m.dropLocked(p, handshake.ReasonProtocol)
	}
	var ips []netip.Addr
	if e := m.entries[p]; e != nil {
		for _, t := range e.admissions() {
			if t.ip.IsValid() {
				ips = append(ips, t.ip)
			}
		}
	}
	after := m.banLocked(p, m.cfg.BanDuration, reason, true)
	return append(after, m.offendedLocked(ips)...)
}
