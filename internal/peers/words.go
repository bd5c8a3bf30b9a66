package peers

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p/core/peer"
)

// maxWords bounds the peers of which it is remembered what happened last.
const maxWords = 4096

// word is the last that was heard of a peer.
type word struct {
	at       time.Time
	reason   handshake.Reason
	byRemote bool
	session  bool             // it ended a session, not an attempt
	text     string           // more about it, cleaned
	ended    handshake.Reason // of the last session, ReasonNone for none; attempts that follow leave it
}

func (w word) before(o word) bool { return w.at.Before(o.at) }

func (m *Manager) noteLocked(p peer.ID, w word) {
	if w.reason == alreadyConnected {
		return // it is here
	}
	w.at = time.Now()
	if w.session {
		w.ended = w.reason
	}
	if old, ok := m.words.get(p); ok {
		if w.text == "" && old.reason == w.reason {
			w.text = old.text
		}
		if !w.session {
			w.ended = old.ended
		}
	}
	m.words.put(p, w)
}

// Tried notes what came of an attempt that the program made, for Why.
func (m *Manager) Tried(p peer.ID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.triedLocked(p, err)
}

func (m *Manager) triedLocked(p peer.ID, err error) {
	if err != nil {
		m.noteLocked(p, word{reason: dialReason(err), byRemote: handshake.ByRemote(err), text: obs.Clean(cause(err))})
	}
}

// cause is one line about why an attempt failed, with whose limit it was.
func cause(err error) string {
	switch {
	case ownLimit(err):
		return "a limit of this node: " + firstCause(err)
	case handshake.HostFull(err):
		return "a limit of the peer: " + firstCause(err)
	}
	return firstCause(err)
}
