package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// fullWait is how long a peer to keep waits when no slot is free, before jitter.
const fullWait = 5 * time.Second

// Role is why the operator named a peer. A peer may have several: it is kept until
// the last one is taken from it.
type Role uint8

const (
	RoleBoot Role = 1 << iota
	RoleStatic
	// RoleReserved lets a peer pass over the maximum; the operator's trust also spares
	// it bans by score.
	RoleReserved
)

// target is a peer to keep, which the operator has named: it is dialled for ever.
type target struct {
	id       peer.ID
	roles    Role
	failures int       // in a row
	due      time.Time // zero: nothing to do, connected or being dialled
	dialling bool
	waiting  bool // for a free slot
	said     int  // answers of another peer in a row
	// blameless: what it waits for may have been this node's own connection
	blameless bool
}

// Name gives a peer a role. From then on it is dialled for ever, and its addresses
// are kept whatever happens; those of further calls are added.
func (m *Manager) Name(ai peer.AddrInfo, role Role) handshake.Reason {
	m.mu.Lock()
	r := m.nameLocked(ai, role)
	m.mu.Unlock()
	m.kick()
	return r
}

func (m *Manager) nameLocked(ai peer.AddrInfo, role Role) handshake.Reason {
	switch {
	case m.closed:
		return handshake.ReasonShuttingDown
	case ai.ID == m.cfg.Self:
		return handshake.ReasonSelf
	}
	now := time.Now()
	m.avoided.delete(ai.ID)
	m.book.Add(now, book.Told{Peer: ai, Source: book.FromOperator})
	if t := m.targets[ai.ID]; t != nil {
		t.roles |= role
		return handshake.ReasonNone
	}
	t := &target{id: ai.ID, roles: role}
	if e := m.entries[ai.ID]; e == nil || e.live == nil {
		t.due = now
	}
	m.targets[ai.ID] = t
	return handshake.ReasonNone
}

// Unname takes a role from a peer, which is not dialled for ever any more when it has
// no other. Its session is left alone.
func (m *Manager) Unname(p peer.ID, role Role) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.targets[p]
	if t == nil {
		return
	}
	if t.roles &^= role; t.roles == 0 {
		delete(m.targets, p)
		m.book.Release(p)
	}
}

// Named are the peers with a role.
func (m *Manager) Named(role Role) (ids []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, t := range m.targets {
		if t.roles&role != 0 {
			ids = append(ids, p)
		}
	}
	return ids
}

// Reserved tells whether a peer is reserved.
func (m *Manager) Reserved(p peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reservedLocked(p)
}

func (m *Manager) reservedLocked(p peer.ID) bool {
	t := m.targets[p]
	return t != nil && t.roles&RoleReserved != 0
}

// Persistent tells whether a peer is one to keep.
func (m *Manager) Persistent(p peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.targets[p] != nil
}

// Learn takes in that there is a peer at some addresses. It is dialled when there
// is a place for it.
func (m *Manager) Learn(t book.Told) book.Outcome {
	m.mu.Lock()
	v := m.learnLocked(t)
	m.mu.Unlock()
	if v == book.Added || v == book.Updated {
		m.kick()
	}
	return v
}

func (m *Manager) learnLocked(t book.Told) book.Outcome {
	now := time.Now()
	if _, avoided := m.avoidedLocked(t.Peer.ID, now); t.Peer.ID == m.cfg.Self || avoided || m.closed {
		return book.Useless
	}
	var seq uint64
	if e := m.book.Get(t.Peer.ID); e != nil {
		seq = e.Seq
	}
	v := m.book.Add(now, t)
	newer := t.Source == book.FromPeer || t.Seq > seq
	if v == book.Updated && newer && ours(handshake.Reason(m.book.Get(t.Peer.ID).Reason)) {
		m.book.Moved(t.Peer.ID)
		if kept := m.targets[t.Peer.ID]; kept != nil && !kept.due.IsZero() {
			kept.due, kept.failures = now, 0
		}
	}
	m.known.Update(int64(m.book.Len()))
	return v
}

// pick chooses which of the peers to keep are dialled now: those that are due,
// the longest waiting first, up to the number that is free. wait is the time
// until the next look, 0 when nothing is planned.
func pick(targets map[peer.ID]*target, now time.Time, free int) (chosen []*target, wait time.Duration) {
	var due []*target
	for _, t := range targets {
		switch {
		case t.due.IsZero() || t.dialling:
		case !t.due.After(now):
			due = append(due, t)
		default:
			wait = sooner(wait, t.due.Sub(now))
		}
	}
	sortTargets(due)
	// What does not fit is looked at when a dial ends.
	return due[:min(len(due), max(free, 0))], wait
}

// sooner is the smaller of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// endedLocked plans what comes after a session with a peer, or after a handshake
// that it began.
func (m *Manager) endedLocked(t *Admission, r handshake.Reason, byRemote bool, lived time.Duration) {
	p := t.p
	if m.entries[p] != nil || m.tryingLocked(p) {
		return // the end of the other admission or of the dial plans
	}
	kept := m.targets[p]
	e := ending{reason: r, byRemote: byRemote, lived: lived, lonely: m.lonelyLocked(), inbound: t.dir == network.DirInbound}
	switch {
	case kept == nil && lived > 0:
		m.planOtherLocked(p, e)
	case kept == nil || kept.dialling || !kept.due.IsZero(): // not ours, or the end of the dial plans, or it is planned
	default:
		m.planLocked(kept, e)
	}
}

func (m *Manager) planLocked(t *target, e ending) {
	e.persistent, e.failures, e.moved = true, t.failures, m.movedLocked(t.id, e)
	n := redial(e, m.cfg.Rand())
	t.failures, t.blameless = n.failures, ours(e.reason) && !e.stranger
	now := time.Now()
	t.due = now.Add(n.after)
	if e.lived > 0 {
		m.book.Left(now, t.id, e.reason.Code(), m.lastValue(t.id), t.due)
	} else {
		m.book.Failed(t.id, e.reason.Code(), t.due, e.counts())
	}
	m.kick()
}

// planOtherLocked notes in the book what came of a peer that is not one to keep.
func (m *Manager) planOtherLocked(p peer.ID, e ending) {
	now := time.Now()
	entry := m.book.Get(p)
	if entry != nil {
		e.failures, e.proven, e.moved = int(entry.Fails), entry.Proven(), m.movedLocked(p, e)
	}
	n := redial(e, m.cfg.Rand())
	if e.lived > 0 {
		m.book.Left(now, p, e.reason.Code(), m.lastValue(p), now.Add(n.after))
	} else {
		m.book.Failed(p, e.reason.Code(), now.Add(n.after), e.counts())
	}
	if n.forget {
		m.book.Remove(p)
		m.avoidLocked(p, n.after, e.reason)
	}
	m.kick()
}

// movedLocked tells of an attempt that it failed at addresses which a newer record has
// replaced meanwhile.
func (m *Manager) movedLocked(p peer.ID, e ending) bool {
	entry := m.book.Get(p)
	return entry != nil && entry.Renewed && e.lived == 0 && (e.stranger || ours(e.reason))
}
