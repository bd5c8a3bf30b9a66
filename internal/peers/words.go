package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/peer"
)

// maxWords bounds the peers of which it is remembered what happened last.
const maxWords = 4096

// word is the last that was heard of a peer.
type word struct {
	at       time.Time
	reason   handshake.Reason
	byRemote bool
	session  bool   // it ended a session, not an attempt
	text     string // more about it, cleaned
}

func (w word) before(o word) bool { return w.at.Before(o.at) }

func (m *Manager) noteLocked(p peer.ID, w word) {
	if w.reason == alreadyConnected {
		return // it is here
	}
	w.at = time.Now()
	if old, ok := m.words.get(p); ok && w.text == "" && old.reason == w.reason {
		w.text = old.text
	}
	m.words.put(p, w)
}
