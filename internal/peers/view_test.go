package peers

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// live is the number of sessions.
func (m *Manager) live() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.live != nil {
			n++
		}
	}
	return n
}

// penalties is the score of a peer as it stands.
func (m *Manager) penalties(p peer.ID) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, _ := m.scores.get(p)
	return s.now(time.Now())
}

// avoiding tells whether and why a peer is avoided.
func (m *Manager) avoiding(p peer.ID) (r handshake.Reason, avoided bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.avoidedLocked(p, time.Now())
	return a.reason, ok
}
