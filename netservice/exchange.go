package netservice

import (
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/discovery"
)

// exchangeConfig joins peer exchange with the peer set (whom to ask) and the peer
// manager (what to do with the answers).
func (n *Node) exchangeConfig() discovery.Config {
	return discovery.Config{
		Host: n.host, Network: n.network, Obs: n.obs,
		Member: n.peerSet.has,
		Sessions: func() []peer.ID {
			all := n.peerSet.all()
			ids := make([]peer.ID, len(all))
			for i, k := range all {
				ids[i] = k.id
			}
			return ids
		},
		Want: func() int {
			if n.cfg.NoPeerExchange {
				return 0
			}
			return n.peers.Room()
		},
		Found:    func(_ peer.ID, ai peer.AddrInfo) { n.peers.Dial(ai) },
		Allow:    func(a ma.Multiaddr) bool { return !n.cfg.PublicOnly || manet.IsPublicAddr(a) },
		Penalise: func(p peer.ID, err error) { n.peers.Penalise(p, exchangeWeight(err)) },
	}
}
