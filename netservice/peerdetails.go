package netservice

import (
	ma "github.com/multiformats/go-multiaddr"
)

// detailed fills in what takes a look at all engines. It is kept from the path of
// messages, where filters are given peers for each of them.
func (n *Node) detailed(infos []PeerInfo, st Stats) []PeerInfo {
	described, broadcast := n.peers.Describe(), st.Gossip.Peers
	for i := range infos {
		p := &infos[i]
		p.Transport = transportOf(p.Addr)
		d := described[p.ID]
		p.Persistent, p.Protected, p.Value = d.Persistent, d.Protected, peerValue(d.Value)
		p.LastEnded = DisconnectReason(d.Last)
		gossip, streams := broadcast[p.ID], st.Peers[p.ID.String()]
		p.Mesh, p.Score = gossip.Mesh, gossip.Score
		p.BytesIn = streams.Receive.Bytes + uint64(gossip.BytesIn)
		p.BytesOut = streams.Send.WrittenBytes + uint64(gossip.BytesOut)
	}
	return infos
}

// peersStats are Stats of what has to do with peers alone.
func (n *Node) peersStats() Stats {
	st := Stats{Gossip: gossipStats(n.gossip.Stats()), Peers: make(map[string]PeerStats)}
	for _, k := range n.peerSet.all() {
		st.Peers[k.name] = peerStats(k.session.Stats())
	}
	return st
}

// transportOf names the transport of an address.
func transportOf(a ma.Multiaddr) string {
	name := ""
	for _, part := range a {
		switch part.Protocol().Code {
		case ma.P_CIRCUIT:
			return "relay"
		case ma.P_TCP, ma.P_QUIC_V1, ma.P_WS, ma.P_WSS, ma.P_WEBTRANSPORT:
			name = part.Protocol().Name
		}
	}
	return name
}
