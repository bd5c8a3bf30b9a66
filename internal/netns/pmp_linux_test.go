package netns

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// pmp runs a gateway of NAT-PMP in the namespace of its router until the input ends.
func (p part) pmp() error {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(p.Gateway.Inside), 5351)))
	if err != nil {
		return err
	}
	defer conn.Close()
	go testkit.PMP{
		Outside: func() netip.Addr { return netip.MustParseAddr(p.Gateway.Outside) },
		Forward: p.Gateway.grant(),
	}.Serve(conn)
	fmt.Println("ready to forward")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// grant forwards each port once: a second rule for it would do nothing, and the
// namespace goes with the test.
func (g gateway) grant() func(string, netip.AddrPort, uint16, uint32) uint16 {
	done := make(map[string]bool) // one request comes after the other
	return func(proto string, inside netip.AddrPort, wanted uint16, _ uint32) uint16 {
		key := fmt.Sprint(proto, inside)
		if !done[key] {
			if err := g.forward(proto, wanted, inside); err != nil {
				fmt.Println("failed", err)
				return 0
			}
			done[key] = true
		}
		return wanted
	}
}
