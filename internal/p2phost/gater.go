package p2phost

import (
	"io"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// gater joins the address filters, the bound on a peer's connections and the
// owner's Gate into what libp2p asks at each stage of a connection.
type gater struct {
	filter  addrFilter
	gate    Gate // may be nil
	guard   *guard
	obs     *obs.Obs
	network atomic.Pointer[network.Network] // nil until the host exists
}

var _ connmgr.ConnectionGater = (*gater)(nil)

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g *gater) InterceptPeerDial(p peer.ID) bool {
	return g.gate == nil || g.gate.AllowDial(p)
}

// InterceptAddrDial sees the address after DNS: a name cannot lead to where
// its address may not.
func (g *gater) InterceptAddrDial(_ peer.ID, a ma.Multiaddr) bool {
	return g.filter.dial(a) || g.refuse("address")
}

// InterceptAccept runs before anything is read from the connection.
func (g *gater) InterceptAccept(c network.ConnMultiaddrs) bool {
	remote := c.RemoteMultiaddr()
	if g.gate != nil && !g.gate.AllowAccept(remote) {
		return g.refuse("gate")
	}
	// A stream transport asks before it opens the connection's scope and
	// before its handshake: from here on the guard may have to close it. QUIC
	// asks after its handshake, with a connection that has a peer.
	if _, secured := c.(interface{ RemotePeer() peer.ID }); !secured {
		if closer, ok := c.(io.Closer); ok {
			g.guard.conns.offer(remote, closer)
		}
	}
	return true
}

// InterceptSecured runs when the peer's identity is proven.
func (g *gater) InterceptSecured(dir network.Direction, p peer.ID, c network.ConnMultiaddrs) bool {
	return g.gate == nil || g.gate.AllowPeer(dir, p, c.RemoteMultiaddr()) || g.refuse("gate")
}

// InterceptUpgraded bounds the connections with one peer, of both directions
// together. The resource manager cannot: it counts each of the addresses that
// are being dialled as a connection. Those through relays are counted apart, or two
// of them would keep out the direct one that hole punching makes.
func (g *gater) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	n := g.network.Load()
	if n == nil {
		return true, 0
	}
	alike := 0
	for _, other := range (*n).ConnsToPeer(c.RemotePeer()) {
		if Relayed(other.RemoteMultiaddr()) == Relayed(c.RemoteMultiaddr()) {
			alike++
		}
	}
	if alike < maxConnsPerPeer {
		return true, 0
	}
	g.guard.crowded(c.RemotePeer(), c.RemoteMultiaddr(), ErrTooManyConns)
	return false, 0
}

// refuse counts a refusal and is always false.
func (g *gater) refuse(reason string) bool {
	g.obs.Counter(obs.ConnsRefused + reason).Inc(1)
	return false
}
