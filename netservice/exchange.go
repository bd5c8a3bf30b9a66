package netservice

import (
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/discovery"
	"github.com/go-nebnet/nebnet/internal/peers/book"
)

// own takes in what a session peer says of itself.
func (n *Node) own(ai peer.AddrInfo, seq uint64) {
	t := book.Told{Peer: ai, Source: book.FromPeer, Seq: seq}
	if k := n.peerSet.get(ai.ID); k != nil {
		t.Agent = k.agent
	}
	n.peers.Learn(t)
}

// mayTell decides which addresses a peer may tell of. Those that mean something
// in one machine or one private network only are taken from who is there, too:
// others could aim this node at its own neighbours.
func (n *Node) mayTell(from peer.ID, a ma.Multiaddr) bool {
	if manet.IsPublicAddr(a) {
		return true
	}
	if n.cfg.PublicOnly {
		return false
	}
	for _, c := range n.host.Network().ConnsToPeer(from) {
		at := c.RemoteMultiaddr()
		if manet.IsIPLoopback(at) || !manet.IsIPLoopback(a) && !manet.IsPublicAddr(at) {
			return true
		}
	}
	return false
}

// exchangeConfig joins peer exchange with the peer set (whom to ask) and the peer
// manager (what to do with the answers).
func (n *Node) exchangeConfig() discovery.Config {
	return discovery.Config{
		Host: n.host, Network: n.network, Obs: n.obs, Rand: n.opts.random.For("exchange"),
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
			if n.live.Load().cfg.NoPeerExchange {
				return 0
			}
			return n.peers.Wanted()
		},
		Found: func(from peer.ID, ai peer.AddrInfo, seq uint64) {
			n.peers.Learn(book.Told{Peer: ai, Source: book.FromExchange, Teller: from, Seq: seq})
		},
		Own:      n.own,
		Guest:    n.guests.take,
		Allow:    n.mayTell,
		Relay:    func(relay peer.ID) bool { return n.cfg.Reachability.RelayClient && n.peerSet.has(relay) },
		Penalise: func(p peer.ID, err error) { n.peers.Penalise(p, exchangeWeight(err)) },
	}
}
