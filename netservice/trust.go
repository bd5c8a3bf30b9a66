package netservice

import (
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/peers"
)

// BanPeer ends what there is with a peer, with ReasonBanned, and keeps it out for
// a time; 0 is the hour that misbehaviour costs. A longer ban that stands
// is not cut short. With Config.DataDir it is kept over restarts. It may be
// called before Start. The error says that peerID is none or d negative.
func (s *NebService) BanPeer(peerID string, d time.Duration) error {
	p, err := parsePeerID(peerID)
	if err = joined(err, checkBan(d)); err == nil {
		s.node.peers.Ban(p, d, "by the operator")
	}
	return err
}

// checkBan keeps a negative time from being taken for none given, which is an hour.
func checkBan(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("a ban of %s: the time is negative", d)
	}
	return nil
}

// UnbanPeer lets a peer in again, whoever banned it. The error says that peerID
// is none.
func (s *NebService) UnbanPeer(peerID string) error {
	p, err := parsePeerID(peerID)
	if err == nil {
		s.node.peers.Unban(p)
	}
	return err
}

// ReservePeer is Config.Reserved at run time: the peer at a full multiaddr
// (…/p2p/ID) is admitted above MaxPeers, kept connected, and sent every message
// of gossip. A PublicOnly node does not dial a private address for it either. The
// error says that addr is none, or of this node itself, or is ErrStopped.
func (s *NebService) ReservePeer(addr string) error {
	ai, err := parsePeerAddr(addr)
	if err != nil {
		return err
	}
	return s.addNamed(peers.RoleReserved, *ai)
}

// UnreservePeer undoes ReservePeer and Config.Reserved: the peer is not dialled
// any more, unless it is a boot node or a static peer as well. A session that
// stands is left alone. The error says that peerID is none.
func (s *NebService) UnreservePeer(peerID string) error { return s.unname(peers.RoleReserved, peerID) }

// parsePeerAddr reads a full multiaddr.
func parsePeerAddr(text string) (*peer.AddrInfo, error) {
	ai, err := peer.AddrInfoFromString(text)
	switch {
	case errors.Is(err, peer.ErrInvalidAddr):
		return nil, fmt.Errorf("peer address %.200q: has no peer ID, want …/p2p/ID", text)
	case err != nil:
		return nil, fmt.Errorf("peer address: %w", err) // it has the text
	}
	return ai, nil
}

func parsePeerID(text string) (peer.ID, error) {
	p, err := peer.Decode(text)
	if err != nil {
		return "", fmt.Errorf("peer ID %q: %w", text, err)
	}
	return p, nil
}
