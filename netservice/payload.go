package netservice

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// RenewPayload asks WithPayload anew and tells all peers: their PeerInfo.Payload
// follows. Each peer is told at most once in five seconds, and then of the latest.
// Errors: ErrPayloadTooLarge, ErrNotStarted, ErrStopped.
func (s *NebService) RenewPayload() error {
	if err := s.running(); err != nil {
		return err
	}
	data := s.node.payload()
	if len(data) > handshake.MaxPayload {
		return fmt.Errorf("%w: has %d bytes, at most %d are allowed", ErrPayloadTooLarge, len(data), handshake.MaxPayload)
	}
	s.node.engine.SetPayload(data)
	return nil
}

// onPayload notes a payload that a peer has renewed. It may come before the session
// of the handshake is in the set.
func (s *peerSet) onPayload(p peer.ID, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.view.Load().entries[p]
	if e == nil {
		return
	}
	if len(e.hellos) > 0 {
		e.payload = &payload
	}
	if k := e.session.Load(); k != nil {
		k.payload.Store(&payload)
	}
}
