package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/sirupsen/logrus"
)

// Caps of what is remembered of peers that are not here.
const (
	maxBans    = 4096
	maxAvoided = 4096
)

// avoidance is a peer that is not dialled until a time, and why.
type avoidance struct {
	until  time.Time
	reason handshake.Reason
}

func (a avoidance) before(b avoidance) bool { return a.until.Before(b.until) }

// less makes the cap on scores give up the smaller score; the times of two
// scores that are looked at differ too little to matter.
func (s score) less(o score) bool { return s.value < o.value }

// Ban ends a peer's session and handshakes with ReasonBanned and keeps the
// peer out for a while; a duration of 0 or less is BanDuration. An earlier,
// longer ban stands. A persistent peer is dialled again afterwards.
func (m *Manager) Ban(p peer.ID, d time.Duration) {
	m.mu.Lock()
	after := m.banLocked(p, d)
	m.mu.Unlock()
	run(after...)
}

func (m *Manager) banLocked(p peer.ID, d time.Duration) []func() {
	if d <= 0 {
		d = m.cfg.BanDuration
	}
	until := time.Now().Add(d)
	if old, ok := m.bans.get(p); ok && old.After(until) {
		until = old
	}
	m.bans.put(p, until)
	m.scores.delete(p)
	m.cfg.Obs.Counter(obs.Bans).Inc(1)
	after := m.dropLocked(p, handshake.ReasonBanned)
	m.publishLocked(Event{Kind: Banned, Peer: p, Reason: handshake.ReasonBanned, Until: until})
	if t := m.targets[p]; t != nil {
		if !t.persistent {
			m.forgetLocked(t)
		} else if !t.dialling && t.due.Before(until) {
			t.due = until
		}
	}
	return after
}

// dropLocked ends all there is with a peer.
func (m *Manager) dropLocked(p peer.ID, r handshake.Reason) []func() {
	var after []func()
	if e := m.entries[p]; e != nil {
		for _, t := range e.tickets() {
			after = append(after, m.endLocked(t, r, false))
		}
	}
	return after
}

// Unban lets a peer in again.
func (m *Manager) Unban(p peer.ID) {
	m.mu.Lock()
	m.bans.delete(p)
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

func (m *Manager) bannedLocked(p peer.ID, now time.Time) (time.Time, bool) {
	until, ok := m.bans.get(p)
	if ok && !now.Before(until) {
		m.bans.delete(p)
		ok = false
	}
	return until, ok
}

// Penalise adds to a peer's score, which halves every ten minutes. At BanScore
// the peer is banned; a reserved peer is only disconnected.
// Weights of 0 or less do nothing.
func (m *Manager) Penalise(p peer.ID, weight float64) {
	if !(weight > 0) {
		return
	}
	m.mu.Lock()
	after := m.penaliseLocked(p, weight)
	m.mu.Unlock()
	run(after...)
}

func (m *Manager) penaliseLocked(p peer.ID, weight float64) []func() {
	now := time.Now()
	old, _ := m.scores.get(p)
	s := old.add(weight, now)
	if s.value < BanScore {
		m.scores.put(p, s)
		return nil
	}
	m.scores.delete(p)
	m.cfg.Obs.WarnLimited("peers", "banned", logrus.Fields{"peer": p}, "peer misbehaved and is disconnected")
	if m.reserved[p] {
		return m.dropLocked(p, handshake.ReasonProtocol)
	}
	return m.banLocked(p, 0)
}

// avoidLocked keeps the manager from dialling a peer for a while. After a
// permanent reason, such as another chain, AllowDial refuses it too, so that no
// other part of the host dials it either. Persistent peers are not avoided, they
// wait. A session ends the avoidance.
func (m *Manager) avoidLocked(p peer.ID, d time.Duration, r handshake.Reason) {
	t := m.targets[p]
	if d <= 0 || t != nil && t.persistent {
		return
	}
	m.avoided.put(p, avoidance{time.Now().Add(d), r})
	if t != nil && !t.dialling {
		m.forgetLocked(t)
	}
}

// shunLocked avoids a peer for as long as its reason says.
func (m *Manager) shunLocked(p peer.ID, r handshake.Reason) {
	m.avoidLocked(p, backoffFor(r).delay(0, m.cfg.Rand()), r)
}

// Forgive ends the avoidance of a peer, because the user names it, say.
func (m *Manager) Forgive(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.avoided.delete(p)
}

func (m *Manager) avoidedLocked(p peer.ID, now time.Time) (avoidance, bool) {
	a, ok := m.avoided.get(p)
	if ok && !now.Before(a.until) {
		m.avoided.delete(p)
		ok = false
	}
	return a, ok
}

// sweepLocked forgets what is over.
func (m *Manager) sweepLocked(now time.Time) {
	m.bans.sweep(func(until time.Time) bool { return !now.Before(until) })
	m.avoided.sweep(func(a avoidance) bool { return !now.Before(a.until) })
	m.scores.sweep(func(s score) bool { return s.now(now) < scoreForgotten })
	m.hellos.sweep(func(b bucket) bool { return b.usedAt(helloRate, now) == 0 })
	m.crowds.sweep(now)
}
