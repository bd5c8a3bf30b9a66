package discovery

import (
	"net/netip"
	"strconv"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	maxAddrs      = 8 // addresses kept of one record
	maxComponents = 8 // parts of one address
)

// overIP are the protocols that may follow IP address and port. Names and
// relays are not among them: who tells of a peer must not choose what this node
// looks up, nor whom it connects through. (See relayAddr for relays.)
var overIP = map[int]bool{
	ma.P_QUIC_V1: true, ma.P_TLS: true, ma.P_WS: true, ma.P_WSS: true,
	ma.P_WEBTRANSPORT: true, ma.P_WEBRTC_DIRECT: true, ma.P_CERTHASH: true,
}

// usable returns the addresses of a record that this node may dial, without
// their /p2p part, each once and at most maxAddrs of them. Those through a relay
// are among them if relay says so of it.
func usable(rec *peer.PeerRecord, allow func(ma.Multiaddr) bool, relay func(peer.ID) bool) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range rec.Addrs {
		if len(out) == maxAddrs {
			break
		}
		t, ok := transportAddr(a, rec.PeerID)
		if !ok {
			t, ok = relayAddr(a, rec.PeerID, relay)
		}
		if ok && !ma.Contains(out, t) && allow(t) {
			out = append(out, t)
		}
	}
	return out
}

// transportAddr takes the /p2p part off an address, and tells whether the rest
// can be dialled directly: /ip4 or /ip6, /tcp or /udp with a port, transport.
func transportAddr(a ma.Multiaddr, id peer.ID) (ma.Multiaddr, bool) {
	a, of := peer.SplitAddr(a)
	if of != "" && of != id || len(a) < 2 || len(a) > maxComponents {
		return nil, false
	}
	if c := a[1].Protocol().Code; c != ma.P_TCP && c != ma.P_UDP {
		return nil, false
	}
	if port, err := strconv.Atoi(a[1].Value()); err != nil || port == 0 {
		return nil, false
	}
	if a[1].Protocol().Code == ma.P_UDP && len(a) == 2 {
		return nil, false
	}
	for _, c := range a[2:] {
		if !overIP[c.Protocol().Code] {
			return nil, false
		}
	}
	return a, oneHost(a[0])
}

// relayAddr takes the last /p2p part off an address through a relay that may be
// used: TRANSPORT/p2p/RELAY/p2p-circuit, where the first is as transportAddr has it.
func relayAddr(a ma.Multiaddr, id peer.ID, may func(peer.ID) bool) (ma.Multiaddr, bool) {
	a, of := peer.SplitAddr(a)
	if of != "" && of != id || len(a) < 2 || a[len(a)-1].Protocol().Code != ma.P_CIRCUIT {
		return nil, false
	}
	at, relay := peer.SplitAddr(a[:len(a)-1])
	if relay == "" || relay == id || !may(relay) {
		return nil, false
	}
	_, ok := transportAddr(at, "")
	return a, ok
}

// oneHost tells whether an address begins with an IP address of a single host, in
// its usual form and without a zone. Whatever else it begins with, such as a name,
// is none.
func oneHost(c ma.Component) bool {
	switch c.Protocol().Code {
	case ma.P_IP4, ma.P_IP6:
	default:
		return false
	}
	ip, ok := netip.AddrFromSlice(c.RawValue())
	return ok && !ip.Is4In6() && !ip.IsUnspecified() && !ip.IsMulticast() &&
		!(ip.Is6() && ip.IsLinkLocalUnicast()) && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
