package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// maxTargets bounds the peers to dial that are not persistent.
const maxTargets = 1024

// fullWait is how long a persistent peer waits when no slot is free, before
// jitter.
const fullWait = 5 * time.Second

// target is a peer to dial.
type target struct {
	id         peer.ID
	addrs      []ma.Multiaddr
	persistent bool
	failures   int       // in a row
	due        time.Time // zero: nothing to do, connected or being dialled
	dialling   bool
}

// AddPersistent adds a peer that is dialled for ever, such as a boot node. Its
// addresses are kept whatever happens; those of further calls are added.
func (m *Manager) AddPersistent(ai peer.AddrInfo) handshake.Reason {
	return m.addTarget(ai, true)
}

// RemovePersistent stops dialling a persistent peer. Its session is left alone.
func (m *Manager) RemovePersistent(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.targets[p]; t != nil && t.persistent {
		m.forgetLocked(t)
	}
}

// Dial asks for a session with a peer, soon and in the background. It is tried
// a few times, and again when the session is lost. The reason tells why it
// will not be: self, banned, avoided (why), already connected, or too many
// peers wait to be dialled.
func (m *Manager) Dial(ai peer.AddrInfo) handshake.Reason {
	return m.addTarget(ai, false)
}

func (m *Manager) addTarget(ai peer.AddrInfo, persistent bool) handshake.Reason {
	m.mu.Lock()
	r := m.addTargetLocked(ai, persistent)
	m.mu.Unlock()
	m.kick()
	return r
}

func (m *Manager) addTargetLocked(ai peer.AddrInfo, persistent bool) handshake.Reason {
	now := time.Now()
	t := m.targets[ai.ID]
	e := m.entries[ai.ID]
	switch {
	case m.closed:
		return handshake.ReasonShuttingDown
	case ai.ID == m.cfg.Self:
		return handshake.ReasonSelf
	case persistent:
		m.avoided.delete(ai.ID)
	default:
		if _, banned := m.bannedLocked(ai.ID, now); banned {
			return handshake.ReasonBanned
		}
		if a, avoided := m.avoidedLocked(ai.ID, now); avoided {
			return a.reason
		}
		if e != nil && e.live != nil {
			return alreadyConnected
		}
		if t == nil && len(m.targets)-m.persistent >= maxTargets {
			return handshake.ReasonTooManyPeers
		}
	}
	if t == nil {
		t = &target{id: ai.ID}
		if e == nil || e.live == nil {
			t.due = now
		}
		m.targets[ai.ID] = t
	}
	if persistent && !t.persistent {
		t.persistent = true
		m.persistent++
	}
	limit := maxAddrs
	if t.persistent {
		limit = maxAddrsPersistent
	}
	t.addrs = mergeAddrs(t.addrs, ai.Addrs, limit)
	return handshake.ReasonNone
}

// forgetLocked takes a target out of the books.
func (m *Manager) forgetLocked(t *target) {
	if m.targets[t.id] != t {
		return
	}
	delete(m.targets, t.id)
	if t.persistent {
		m.persistent--
	}
}

// pick chooses what to dial now: targets that are due, persistent ones first,
// then those that have waited longest, up to the number that is free. wait is
// the time until the next look, 0 when nothing is planned.
func pick(targets map[peer.ID]*target, now time.Time, free int) (chosen []*target, wait time.Duration) {
	var due []*target
	for _, t := range targets {
		switch {
		case t.due.IsZero() || t.dialling:
		case !t.due.After(now):
			due = append(due, t)
		default:
			if d := t.due.Sub(now); wait == 0 || d < wait {
				wait = d
			}
		}
	}
	sortTargets(due)
	// What does not fit is looked at when a dial ends.
	return due[:min(len(due), max(free, 0))], wait
}

// endedLocked plans what comes after an attempt or a session with a peer.
func (m *Manager) endedLocked(p peer.ID, r handshake.Reason, byRemote bool, lived time.Duration) {
	t := m.targets[p]
	if t == nil || t.dialling || m.entries[p] != nil || !t.due.IsZero() {
		return // not ours to dial, or the end of the dial or of the other ticket plans, or it is planned
	}
	m.planLocked(t, ending{reason: r, byRemote: byRemote, lived: lived})
}

func (m *Manager) planLocked(t *target, e ending) {
	e.persistent, e.failures = t.persistent, t.failures
	n := redial(e, m.cfg.Rand())
	if !n.again {
		m.forgetLocked(t)
		if n.avoid > 0 {
			m.avoidLocked(t.id, n.avoid, e.reason)
		}
		return
	}
	t.failures = n.failures
	t.due = time.Now().Add(n.after)
	m.kick()
}
