package p2p

import (
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peerstore"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/go-nebnet/nebnet/internal/testnet"
)

// A transport that all tests run over.
type transportCase struct {
	name   string
	listen string // "": a node of its own in the in-memory network
	opts   []libp2p.Option
	mem    *memory
}

var transports = []transportCase{
	{name: "tcp", listen: loopback, opts: []libp2p.Option{libp2p.Transport(tcp.NewTCPTransport)}},
	{name: "quic", listen: "/ip4/127.0.0.1/udp/0/quic-v1", opts: []libp2p.Option{libp2p.Transport(quic.NewTransport)}},
	{name: "memory"},
}

// memory is an in-memory network in real time. Only what is between the peers
// is in memory: the local sockets are those of the system, which a bubble of
// virtual time does not allow. virtual_test.go has both in memory.
type memory struct {
	net  *testnet.Net
	last atomic.Int32
}

// ready gives the case of the in-memory network a network of its own.
func (tc transportCase) ready() transportCase {
	if tc.listen == "" && tc.mem == nil {
		tc.mem = &memory{net: testnet.New(1)}
	}
	return tc
}

// overTransports runs a test over every transport with two hosts, of which the
// first knows the addresses of the second.
func overTransports(t *testing.T, test func(t *testing.T, dial, serve *P2P)) {
	for _, tc := range transports {
		t.Run(tc.name, func(t *testing.T) {
			a, b := newPair(t, tc)
			test(t, newTunnels(t, a), newTunnels(t, b))
		})
	}
}

func newPair(t testing.TB, tc transportCase) (a, b host.Host) {
	t.Helper()
	tc = tc.ready()
	a, b = newHost(t, tc), newHost(t, tc)
	a.Peerstore().AddAddrs(b.ID(), b.Addrs(), peerstore.PermanentAddrTTL)
	return a, b
}

func newHost(t testing.TB, tc transportCase, opts ...libp2p.Option) host.Host {
	t.Helper()
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.InfiniteLimits), rcmgr.WithMetricsDisabled())
	if err != nil {
		t.Fatal(err)
	}
	base := append([]libp2p.Option{libp2p.DisableMetrics(), libp2p.ResourceManager(rm), libp2p.DisableRelay()}, tc.opts...)
	if tc.mem != nil {
		base = append(base, tc.mem.net.HostOptions(tc.mem.net.Node(int(tc.mem.last.Add(1))))...)
	} else {
		base = append(base, libp2p.ListenAddrStrings(tc.listen))
	}
	h, err := libp2p.New(append(base, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}
