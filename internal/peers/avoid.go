package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

// maxAvoided caps what is remembered of peers that can be none of ours.
const maxAvoided = 4096

// avoidance is a peer that is not dialled until a time, and why.
type avoidance struct {
	until  time.Time
	reason handshake.Reason
}

func (a avoidance) before(b avoidance) bool { return a.until.Before(b.until) }

// avoidLocked keeps the manager from dialling a peer for a while. After a
// permanent reason, such as another chain, AllowDial refuses it too, so that no
// other part of the host dials it either. Persistent peers are not avoided, they
// wait. A session ends the avoidance.
func (m *Manager) avoidLocked(p peer.ID, d time.Duration, r handshake.Reason) {
	if d <= 0 || m.targets[p] != nil {
		return
	}
	m.avoided.put(p, avoidance{time.Now().Add(d), r})
}

// shunLocked avoids a peer for as long as its reason says, and forgets where it
// is.
func (m *Manager) shunLocked(p peer.ID, r handshake.Reason) {
	m.avoidLocked(p, backoffFor(r).delay(0, m.cfg.Rand()), r)
	m.book.Remove(p)
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

// less makes the cap on scores give up the smaller score; the times of two
// scores that are looked at differ too little to matter.
func (s score) less(o score) bool { return s.value < o.value }

// sweepLocked forgets what is over.
func (m *Manager) sweepLocked(now time.Time) {
	m.book.Expire(now)
	m.known.Update(int64(m.book.Len()))
	m.refreshNetsLocked(now)
	m.avoided.sweep(func(a avoidance) bool { return !now.Before(a.until) })
	m.scores.sweep(func(s score) bool { return s.now(now) < scoreForgotten })
	m.hellos.sweep(func(b tokenbucket.Bucket) bool { return b.Used(helloRate, now) == 0 })
	m.offences.sweep(func(o offences) bool { return now.After(o.until) })
	m.words.sweep(func(w word) bool { return now.Sub(w.at) > wordMemory })
	m.aims.sweep(now)
	m.excess.sweep(now)
}

// wordMemory is how long it is remembered what was last heard of a peer.
const wordMemory = 24 * time.Hour
