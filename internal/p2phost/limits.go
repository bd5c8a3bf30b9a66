package p2phost

import (
	"math"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

const (
	// maxConnsPerPeer: one of each direction after a simultaneous dial; and as many
	// through relays.
	maxConnsPerPeer = 2
	// dialsPerPeer is how many of a peer's addresses libp2p dials at a time.
	// Each attempt counts as a connection of that peer.
	dialsPerPeer = 8
	// negotiatingPerPeer bounds a peer's inbound streams that have not named
	// their protocol yet.
	negotiatingPerPeer = 32
	// handshakesPerIP and handshakesPerSubnet bound the inbound connections
	// from one network whose peer is not known yet.
	handshakesPerIP     = 16
	handshakesPerSubnet = 64
	// retryFrom is how many QUIC handshakes may be half open before newcomers have
	// to prove that their address is theirs, for one more round trip: an Initial
	// costs its sender one packet, from any address that it likes to name.
	retryFrom = 32

	streamWindow = 256 << 10 // bytes that yamux reserves for any stream
)

// limits computes what the host and each peer may use. The rule throughout is
// that the share of one peer is far below the pool it takes from.
func limits(c Config) rcmgr.PartialLimitConfig {
	peers := c.MaxPeers
	streams := func(in, out int) rcmgr.ResourceLimits {
		return rcmgr.ResourceLimits{
			StreamsInbound: rcmgr.LimitVal(in), StreamsOutbound: rcmgr.LimitVal(out), Streams: rcmgr.LimitVal(in + out),
		}
	}
	// Memory: yamux ends the connection that gets none, so the system's limit
	// must never be the one that is met first.
	memPeer := min(int64(c.StreamsPerPeer)*2*streamWindow+64<<20, c.Memory/4)

	inbound := 2 * handshakePool(peers)
	outbound := max(256, peers)
	negotiating := negotiatingPerPeer * max(128, peers)
	transient := streams(negotiating, negotiating)
	transient.ConnsInbound = rcmgr.LimitVal(inbound)
	transient.ConnsOutbound = rcmgr.LimitVal(outbound)
	transient.Conns = rcmgr.LimitVal(inbound + outbound)
	transient.FD = rcmgr.LimitVal(max(c.FDs*3/4, 1))
	transient.Memory = rcmgr.LimitVal64(c.Memory / 4)

	all := max(16<<10, peers*256, c.StreamsPerPeer*4)
	system := streams(all, all)
	system.ConnsInbound = rcmgr.LimitVal(inbound + max(512, 3*peers))
	system.ConnsOutbound = rcmgr.LimitVal(max(512, 2*peers))
	system.Conns = system.ConnsInbound + system.ConnsOutbound
	system.FD = rcmgr.LimitVal(c.FDs)
	system.Memory = rcmgr.LimitVal64(c.Memory)

	peer := streams(c.StreamsPerPeer, c.StreamsPerPeer)
	peer.ConnsInbound = maxConnsPerPeer
	if c.RelayClient {
		peer.ConnsInbound += maxConnsPerPeer
	}
	peer.ConnsOutbound = dialsPerPeer
	peer.Conns = peer.ConnsInbound + dialsPerPeer
	peer.FD = maxConnsPerPeer + dialsPerPeer
	peer.Memory = rcmgr.LimitVal64(memPeer)

	// One protocol may take all that its peers or the system may take: which
	// protocol deserves how much is decided above libp2p.
	proto := streams(all, all)
	proto.Memory = rcmgr.LimitVal64(c.Memory)
	protoPeer := streams(c.StreamsPerPeer, c.StreamsPerPeer)
	protoPeer.Memory = rcmgr.LimitVal64(memPeer)

	// All peers identify themselves at once after an outage.
	ident := streams(4*peers+256, 4*peers+256)
	ident.Memory = rcmgr.LimitVal64(16<<20 + int64(peers)*(64<<10))

	p := rcmgr.PartialLimitConfig{
		System: system, Transient: transient,
		AllowlistedSystem: system, AllowlistedTransient: transient,
		PeerDefault:     peer,
		ProtocolDefault: proto, ProtocolPeerDefault: protoPeer,
		ServiceDefault: proto, ServicePeerDefault: protoPeer,
		Service: map[string]rcmgr.ResourceLimits{identify.ServiceName: ident},
	}
	p.Protocol = map[protocol.ID]rcmgr.ResourceLimits{identify.ID: ident, identify.IDPush: ident}
	return p
}

// handshakePool is how many inbound handshakes there may be of one kind: over QUIC,
// and over all else. Whoever fills the one leaves the other free.
func handshakePool(peers int) int { return max(512, peers) }

// concrete fills what limits leaves open from libp2p's defaults, scaled by the
// memory and descriptors of the configuration, not by those of the machine.
func concrete(c Config) rcmgr.ConcreteLimitConfig {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	p := limits(c)
	return p.Build(scaling.Scale(c.Memory, c.FDs))
}

// count turns -1 into "no bound".
func count(n int) int {
	if n < 0 {
		return math.MaxInt
	}
	return n
}
