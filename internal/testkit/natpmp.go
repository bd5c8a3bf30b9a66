package testkit

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// PMP is a router that forwards ports when it is asked to by NAT-PMP (RFC 6886).
type PMP struct {
	// Outside is its public address. It is asked for each time.
	Outside func() netip.Addr
	// Forward has what comes to a port outside go to one of a host inside, and returns
	// the port outside; 0 when it refuses. With a lifetime of 0 s it ends that.
	Forward func(protocol string, inside netip.AddrPort, wanted uint16, lifetime uint32) (outside uint16)
}

// Serve answers what comes on a socket, on port 5351 as a rule, until that is closed.
func (r PMP) Serve(conn *net.UDPConn) {
	buf := make([]byte, 64)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if answer := r.answer(buf[:n], from.Addr().Unmap()); answer != nil {
			_, _ = conn.WriteToUDPAddrPort(answer, from) // it is asked again
		}
	}
}

// answer makes the answer to a request, nil for one that is none.
func (r PMP) answer(ask []byte, from netip.Addr) []byte {
	const notAuthorized = 2
	if len(ask) < 2 || ask[0] != 0 || ask[1] > 2 || ask[1] > 0 && len(ask) < 12 {
		return nil
	}
	// Version, operation, result, seconds since the router began.
	head := []byte{0, 128 + ask[1], 0, 0, 0, 0, 0, 1}
	if ask[1] == 0 {
		ip := r.Outside().As4()
		return append(head, ip[:]...)
	}
	protocol := map[byte]string{1: "udp", 2: "tcp"}[ask[1]]
	inside, wanted := binary.BigEndian.Uint16(ask[4:]), binary.BigEndian.Uint16(ask[6:])
	lifetime := binary.BigEndian.Uint32(ask[8:])
	outside := r.Forward(protocol, netip.AddrPortFrom(from, inside), wanted, lifetime)
	if outside == 0 && lifetime > 0 {
		head[3] = notAuthorized
	}
	head = binary.BigEndian.AppendUint16(head, inside)
	head = binary.BigEndian.AppendUint16(head, outside)
	return binary.BigEndian.AppendUint32(head, lifetime)
}
