package netservice

import (
	"errors"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/session"
)

// Stats is what a service has done since it was started.
type Stats struct {
	// Dispatcher accounts for every message that arrived or was put here.
	Dispatcher dispatcher.Stats
	// Peers accounts for every message sent to and received from each peer
	// with a session, by the text of its ID. It starts anew with each session.
	Peers map[string]PeerStats
	// Gossip accounts for what was broadcast, by type, and shows the mesh and
	// the score of every peer that takes part.
	Gossip GossipStats
	// Requests accounts for the calls of each method, made and served.
	Requests RequestStats
}

// GossipStats is what gossip has done since Start, and how it stands. Broadcasts
// above 1 MiB are counted apart from the others of their type, under its name
// followed by "/large".
type GossipStats = gossip.Stats

// GossipTypeStats are those of one message type, GossipPeerStats of one peer.
type (
	GossipTypeStats = gossip.TypeStats
	GossipPeerStats = gossip.PeerStats
)

// PeerStats are those of one session. For what was sent, at any time
//
//	Queued = Written + sum of Dropped + Pending
type PeerStats = session.Stats

// SendStats and ReceiveStats are the two directions of PeerStats.
type (
	SendStats    = session.SendStats
	ReceiveStats = session.ReceiveStats
)

// Stats returns the counts as they are now, after Stop as they were at the end.
// Before Start there are none.
func (s *NebService) Stats() Stats {
	st := Stats{Dispatcher: s.dispatcher.Stats(), Peers: map[string]PeerStats{}, Requests: s.node.requests.Stats()}
	err := s.running()
	if err != nil && !errors.Is(err, ErrStopped) || s.node.gossip == nil {
		return st
	}
	st.Gossip = s.node.gossip.Stats()
	if err != nil {
		return st
	}
	for _, k := range s.node.peerSet.all() {
		st.Peers[k.name] = k.session.Stats()
	}
	return st
}
