package netservice

import (
	ma "github.com/multiformats/go-multiaddr"
)

// detailed fills in what takes a look at all engines. It is kept from the path of
// messages, where filters are given peers for each of them.
func (n *Node) detailed(infos []PeerInfo) []PeerInfo {
	described := n.peers.Describe()
	broadcast := n.gossip.Stats().Peers
	for i := range infos {
		p := &infos[i]
		p.Transport = transportOf(p.Addr)
		d := described[p.ID]
		p.Persistent, p.Protected, p.Value = d.Persistent, d.Protected, peerValue(d.Value)
		p.LastEnded = DisconnectReason(d.Last)
		p.Mesh, p.Score = broadcast[p.ID].Mesh, broadcast[p.ID].Score
		if k := n.peerSet.get(p.ID); k != nil {
			st := k.session.Stats()
			p.BytesIn, p.BytesOut = st.Receive.Bytes, st.Send.WrittenBytes
		}
	}
	return infos
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
