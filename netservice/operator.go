package netservice

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/peers"
)

// AddStaticPeer is Config.Static at run time: the peer at a full multiaddr
// (…/p2p/ID) is kept connected, within the limits. The error says that addr is
// none, that it cannot be dialled, or that it is of this node itself, or is
// ErrStopped.
func (s *NebService) AddStaticPeer(addr string) error { return s.name(peers.RoleStatic, addr) }

// RemoveStaticPeer undoes AddStaticPeer and Config.Static. A session that stands
// is left alone. The error says that peerID is none.
func (s *NebService) RemoveStaticPeer(peerID string) error { return s.unname(peers.RoleStatic, peerID) }

// AddBootstrapPeer is Config.Bootstrap at run time, with the errors of
// AddStaticPeer.
func (s *NebService) AddBootstrapPeer(addr string) error { return s.name(peers.RoleBoot, addr) }

// RemoveBootstrapPeer undoes AddBootstrapPeer and Config.Bootstrap. A session that
// stands is left alone. The error says that peerID is none.
func (s *NebService) RemoveBootstrapPeer(peerID string) error {
	return s.unname(peers.RoleBoot, peerID)
}

func (s *NebService) name(r peers.Role, addr string) error {
	ai, err := parsePeerAddr(addr)
	if err != nil {
		return err
	}
	for _, a := range ai.Addrs {
		if err := undialable(a); err != nil && s.node.opts.transport == nil {
			return fmt.Errorf("peer address %q: %w", addr, err)
		}
	}
	return s.addNamed(r, *ai)
}

func (s *NebService) addNamed(r peers.Role, ai peer.AddrInfo) error {
	err := s.node.named.add(r, ai)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ReasonShuttingDown):
		return ErrStopped
	}
	return fmt.Errorf("peer %s: %w", ai.ID, err)
}

func (s *NebService) unname(r peers.Role, peerID string) error {
	p, err := parsePeerID(peerID)
	if err != nil {
		return err
	}
	if err := s.node.named.remove(r, p); err != nil && !errors.Is(err, ErrStopped) {
		return err
	}
	return nil // after Stop nothing is sent to it any more
}

// ReportPeer holds it against a peer that it did something wrong, for a reason
// that is shown and logged. Weights add up, and half is forgiven every ten
// minutes. At 100 the peer is disconnected and banned, for an hour at first and
// for twice as long each time it comes to that again, up to a week; at the third
// ban within a day of peers at one public address, that is banned as well.
// Reserved peers are only disconnected. Weights of 0 or less do nothing. The error
// says that peerID is none.
//
// Report what a peer did itself: one that passed on what another one made has
// done nothing wrong, unless it had to check it first.
func (s *NebService) ReportPeer(peerID, reason string, weight float64) error {
	p, err := parsePeerID(peerID)
	if err == nil {
		s.node.peers.Report(p, reason, weight)
	}
	return err
}

// Ban is a peer, or a network of addresses, that is kept out.
type Ban struct {
	Peer    peer.ID      // either this
	Network netip.Prefix // or that
	Since   time.Time
	Until   time.Time
	Times   int    // that it was banned in a row, this one included
	Reason  string // cleaned, at most 128 bytes
}

// Bans lists the bans that stand, by when they end.
func (s *NebService) Bans() []Ban {
	list := s.node.peers.Bans()
	out := make([]Ban, len(list))
	for i, x := range list {
		out[i] = Ban{Peer: x.ID, Network: x.Prefix, Since: x.Since, Until: x.Until, Times: x.Times, Reason: x.Reason}
	}
	return out
}

// BanNetwork keeps out all peers that connect from a network, such as
// "192.0.2.0/24" or a single address, for a time; 0 is an hour. Sessions with
// such peers end, those with reserved and static peers and boot nodes do not. The
// error says that network is none or d negative.
func (s *NebService) BanNetwork(network string, d time.Duration) error {
	n, err := parseNetwork(network)
	if err = joined(err, checkBan(d)); err == nil {
		s.node.peers.BanNetwork(n, d, "by the operator")
	}
	return err
}

// UnbanNetwork lifts the ban of just that network. The error says that network
// is none.
func (s *NebService) UnbanNetwork(network string) error {
	n, err := parseNetwork(network)
	if err == nil {
		s.node.peers.UnbanNetwork(n)
	}
	return err
}

func parseNetwork(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		ip = ip.Unmap().WithZone("")
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("network %.80q: want an address, or one with a length such as 192.0.2.0/24", text)
	}
	return n.Masked(), nil
}

// PeerLimits are the numbers of peers, as in Config.
type PeerLimits struct {
	MaxPeers      int     // 0 is the default
	InboundShare  float64 // 0 is the default, negative none
	OutboundPeers int     // at most MaxPeers; 0 is what InboundShare leaves
}

// PeerLimits returns the limits in force.
func (s *NebService) PeerLimits() PeerLimits {
	l := s.node.peers.Limits()
	return PeerLimits{l.MaxPeers, l.InboundShare, l.Outbound}
}

// SetPeerLimits changes the limits. Where fewer peers may be than there are, those
// worth least are disconnected with ReasonTooManyPeers; those that the operator
// named stay. The error is a *ConfigError.
func (s *NebService) SetPeerLimits(l PeerLimits) error {
	switch {
	case l.MaxPeers < 0:
		return &ConfigError{Field: "MaxPeers", Err: fmt.Errorf("is %d, must be at least 1", l.MaxPeers)}
	case !(l.InboundShare <= 1):
		return &ConfigError{Field: "InboundShare", Err: fmt.Errorf("is %v, must be at most 1", l.InboundShare)}
	case l.OutboundPeers < 0 || l.OutboundPeers > cmp.Or(l.MaxPeers, DefaultMaxPeers):
		return &ConfigError{Field: "OutboundPeers", Err: fmt.Errorf("is %d, must be 0 to MaxPeers (%d)", l.OutboundPeers, cmp.Or(l.MaxPeers, DefaultMaxPeers))}
	}
	s.node.peers.SetLimits(peers.Limits{MaxPeers: l.MaxPeers, InboundShare: l.InboundShare, Outbound: l.OutboundPeers})
	return nil
}
