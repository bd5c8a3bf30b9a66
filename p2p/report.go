package p2p

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// TLVPeerID is the type of the TLV that carries the peer ID as text in a PROXY
// protocol v2 header. It is the first of the types that the protocol reserves
// for applications (PP2_TYPE_MIN_CUSTOM).
const TLVPeerID = 0xE0

// report tells the service who is connecting, ahead of the peer's bytes.
func report(local net.Conn, remote network.Stream, set settings) error {
	var head []byte
	switch set.report {
	case ReportPeerID:
		head = []byte(remote.Conn().RemotePeer().String() + "\n")
	case ReportProxyV2:
		c := remote.Conn()
		head = proxyHeader(addrPort(c.RemoteMultiaddr()), addrPort(c.LocalMultiaddr()), c.RemotePeer().String())
	default:
		return nil
	}
	if err := local.SetWriteDeadline(time.Now().Add(set.dialTimeout)); err != nil {
		return err
	}
	if _, err := local.Write(head); err != nil {
		return err
	}
	return local.SetWriteDeadline(time.Time{})
}

// proxySignature begins each PROXY protocol v2 header.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader builds a PROXY protocol v2 header (HAProxy's proxy-protocol.txt,
// section 2.2). Without usable addresses the family is unspecified, and the
// receiver keeps the addresses of the connection it sees.
func proxyHeader(src, dst netip.AddrPort, peerID string) []byte {
	const proxy, unspec, tcp4, tcp6 = 0x21, 0x00, 0x11, 0x21
	family := byte(unspec)
	var addrs []byte
	if src.IsValid() && dst.IsValid() && src.Addr().Is4() == dst.Addr().Is4() {
		family = tcp6
		if src.Addr().Is4() {
			family = tcp4
		}
		addrs = append(addrs, src.Addr().AsSlice()...)
		addrs = append(addrs, dst.Addr().AsSlice()...)
		addrs = binary.BigEndian.AppendUint16(addrs, src.Port())
		addrs = binary.BigEndian.AppendUint16(addrs, dst.Port())
	}
	addrs = append(addrs, TLVPeerID)
	addrs = binary.BigEndian.AppendUint16(addrs, uint16(len(peerID)))
	addrs = append(addrs, peerID...)

	head := append([]byte(proxySignature), proxy, family)
	head = binary.BigEndian.AppendUint16(head, uint16(len(addrs)))
	return append(head, addrs...)
}

// addrPort returns the IP address and the TCP or UDP port of a connection, or
// the zero value, as for a relayed one.
func addrPort(a ma.Multiaddr) netip.AddrPort {
	network, address, err := manet.DialArgs(a)
	if _, direct := a.ValueForProtocol(ma.P_CIRCUIT); err != nil || direct == nil {
		return netip.AddrPort{}
	}
	t, _ := socketAddr{network, address}.target()
	return t.Addr
}
