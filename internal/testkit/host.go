package testkit

import (
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// LoopbackTCP and LoopbackQUIC are any port of this machine.
const (
	LoopbackTCP  = "/ip4/127.0.0.1/tcp/0"
	LoopbackQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

// Host makes a libp2p host on loopback TCP, without metrics and relay. Options
// come after its own. It is closed at the end of the test.
func Host(t testing.TB, opts ...libp2p.Option) host.Host {
	t.Helper()
	own := []libp2p.Option{libp2p.DisableMetrics(), libp2p.DisableRelay(), libp2p.ListenAddrStrings(LoopbackTCP)}
	h, err := libp2p.New(append(own, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// Connect has a dial b.
func Connect(t testing.TB, a, b host.Host) {
	t.Helper()
	if err := a.Connect(t.Context(), peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}); err != nil {
		t.Fatal(err)
	}
}

// FullAddr is the first address of a host, with its peer ID.
func FullAddr(t testing.TB, h host.Host) string {
	t.Helper()
	full, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	if len(full) == 0 {
		t.Fatalf("%s has no address", h.ID())
	}
	return full[0].String()
}
