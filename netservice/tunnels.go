package netservice

import (
	"time"

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
		p2p.WithAdmitFunc(n.links.member))
}

// endTunnels ends the tunnel streams of a peer that has lost its session, but for
// those that are being dialled to it. On the node's own host they end with the
// connection.
func (l *links) endTunnels(p peer.ID) {
	if l.n.opts.host == nil {
		return
	}
	l.n.tunnels.Streams.Close(func(s stream.Info) bool {
		return s.Peer == p && (s.Direction == stream.Inbound || s.State != stream.Dialing)
	})
}

// maxUndecided bounds the tunnel streams of one peer that wait for the end of
// its handshake.
const maxUndecided = 64

// member tells whether there is a session with a peer. A peer's first streams
// may overtake the end of its handshake: then they wait for that.
func (l *links) member(p peer.ID) bool {
	if l.session(p) != nil {
		return true
	}
	outcome := l.await(p)
	defer l.forsake(p, outcome)
	if l.session(p) != nil {
		return true
	}
	if l.awaited(p) > maxUndecided {
		return false
	}
	limit := time.NewTimer(timeout(l.n.cfg.HandshakeTimeout))
	defer limit.Stop()
	select {
	case err := <-outcome:
		return err == nil
	case <-limit.C:
	case <-l.ctx.Done():
	}
	return false
}
