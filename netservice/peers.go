package netservice

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// PeerInfo describes a peer with which this node has a session, as it was at
// the moment of the call.
type PeerInfo struct {
	ID           peer.ID
	Addr         ma.Multiaddr      // the remote address of its connection
	Direction    network.Direction // inbound when the peer opened the handshake
	Agent        string            // cleaned, at most 128 bytes
	Capabilities []string
	Version      uint32        // highest version that both sides speak
	Payload      []byte        // the application's part of the peer's hello
	Since        time.Time     // when the handshake was completed
	Session      string        // 16 hex digits that name the session in the logs of both sides
	RTT          time.Duration // of the last ping, 0 before the first
	Reserved     bool
	QueueBytes   int // bytes that wait to be sent
	// Differing are the message types that the peer has declared otherwise than
	// this node, by name. What both declarations allow arrives.
	Differing []TypeDifference

	// What follows is what Peers says beyond what a PeerFilter is given.

	Transport  string    // "tcp", "quic-v1" or, through a relay, "relay"
	Persistent bool      // named in Bootstrap, Static or Reserved, or by a call
	Value      PeerValue // what it is worth when there is no place for all
	// Protected says why it does not give way to another peer when all places are
	// taken ("reserved", "persistent", "chosen by this node", "longest here", "most
	// useful", "nearest"); empty when it may have to.
	Protected string
	Mesh      []string // types in whose broadcast mesh it is, sorted
	Score     float64  // in broadcasting
	// BytesIn and BytesOut are those of messages: sent directly, on the wire; and of
	// broadcasts by gossip the data, copies included. They begin anew with the session.
	BytesIn, BytesOut uint64
	// LastEnded is why the session before this one ended; where none is known of, why
	// the last attempt failed; ReasonNone for neither.
	LastEnded DisconnectReason
}

// MarshalJSON writes the direction and the reason as words.
func (p PeerInfo) MarshalJSON() ([]byte, error) {
	type plain PeerInfo
	return json.Marshal(struct {
		plain
		Direction, LastEnded string
	}{plain(p), directionWord(p.Direction), p.LastEnded.Label()})
}

// directionWord is "inbound", "outbound" or "unknown".
func directionWord(d network.Direction) string { return strings.ToLower(d.String()) }

// WaitForPeers waits until there are at least n peers with a session. Its
// error is that of ctx, ErrNotStarted or ErrStopped.
func (s *NebService) WaitForPeers(ctx context.Context, n int) error {
	sub := s.SubscribePeers(PeerConnected)
	defer sub.Close()
	for {
		if err := s.running(); err != nil {
			return err
		}
		if len(s.node.peerSet.all()) >= n {
			return nil
		}
		select {
		case <-sub.Events(): // closed when the service stops
		case <-ctx.Done():
			return fmt.Errorf("wait for %d peers, %d are here: %w", n, len(s.node.peerSet.all()), ctx.Err())
		}
	}
}

// Peers returns the peers with a session, longest connected first.
func (s *NebService) Peers() []PeerInfo {
	if s.running() != nil {
		return nil
	}
	return s.node.detailed(s.node.peerInfos(), s.node.peersStats())
}

func (n *Node) peerInfos() []PeerInfo {
	all := n.peerSet.all()
	infos := make([]PeerInfo, len(all))
	for i, k := range all {
		infos[i] = k.info(n.peers.Reserved(k.id))
	}
	slices.SortFunc(infos, func(a, b PeerInfo) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return infos
}

// ConnectPeer connects to the peer at a full multiaddr (…/p2p/ID) and returns
// when there is a session with it. The error wraps the DisconnectReason, if
// one side refused, or that of ctx. It is tried once, also when the peer was
// found to be of no use before; Config.Bootstrap and Config.Reserved are for
// peers to keep.
func (s *NebService) ConnectPeer(ctx context.Context, addr string) error {
	if err := s.running(); err != nil {
		return err
	}
	ai, err := parsePeerAddr(addr)
	if err != nil {
		return err
	}
	if _, banned := s.node.peers.Banned(ai.ID); banned {
		return outcome(ai.ID, handshake.ReasonBanned)
	}
	s.node.peers.Forgive(ai.ID)
	err = s.node.peerSet.connect(ctx, *ai)
	s.node.peers.Tried(ai.ID, err)
	return outcome(ai.ID, err)
}
