package netservice

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/p2p"
	"github.com/go-nebnet/nebnet/stream"
)

// P2P returns the tunnels of a node that runs, else nil: TCP and unix-socket
// services bridged to peers, see package p2p. They serve peers with a session
// only, as the nodes that they dial do, and their connections end with it; a
// program that wants tunnels to others makes a p2p.P2P of its own. Those of
// Config.Tunnels run already. All end with Stop.
func (s *NebService) P2P() *p2p.P2P {
	if s.running() != nil {
		return nil
	}
	return s.node.tunnels
}

// newTunnels makes a place for tunnels, and starts none.
func (n *Node) newTunnels() *p2p.P2P {
	return p2p.NewP2P(n.id, n.host, n.host.Peerstore(),
		p2p.WithLogger(n.obs.Logger()), p2p.WithMetrics(n.obs.Registry()),
		p2p.WithAdmitFunc(n.peerSet.member), p2p.WithPacing(n.paceTunnel))
}

// endTunnels ends the tunnel streams of a peer that has lost its session, but for
// those that are being dialled to it. On the node's own host they end with the
// connection.
func (s *peerSet) endTunnels(p peer.ID) {
	if s.n.opts.host == nil {
		return
	}
	s.n.tunnels.Streams.Close(func(i stream.Info) bool {
		return i.Peer == p && (i.Direction == stream.Inbound || i.State != stream.Dialing)
	})
}
