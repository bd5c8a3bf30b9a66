package netservice_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Row 54: strangers of many addresses that begin a hello and never finish it, new
// ones as soon as the old ones are thrown out. Whoever is honest gets in at once.
func TestHostileUnfinishedHellos(t *testing.T) {
	for _, strangers := range []int{40, 100} {
		t.Run(fmt.Sprint(strangers), func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				for round := range 3 {
					for range strangers {
						a := s.attacker()
						if err := a.connect(); err != nil {
							t.Fatal(err)
						}
						st, err := a.NewStream(t.Context(), s.victim.Node().ID(), handshake.ProtocolAny)
						if err != nil {
							t.Fatal(err)
						}
						go handshake.Open(t.Context(), mute{st}, greeting(), nil) // no accept
					}
					time.Sleep(time.Second)
					s.mustServe(fmt.Sprint("round ", round))
					time.Sleep(3 * time.Second)
					s.mustServe(fmt.Sprint("late in round ", round))
				}
				time.Sleep(time.Minute)
				if n := s.conns(); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		})
	}
}

// Row 55: peers in good order that all come from one address, or from one network,
// have a share of the inbound places, and others find one. Boot nodes and reserved
// peers find one whatever happens.
func TestHostileInboundShare(t *testing.T) {
	for name, tc := range map[string]struct {
		from func(i int) netip.Addr
		most int
	}{
		"one address": {func(int) netip.Addr { return netip.MustParseAddr("21.0.0.1") }, 4},
		"one network": {func(i int) netip.Addr { return netip.AddrFrom4([4]byte{21, 0, 0, byte(i)}) }, 9},
		"everywhere":  {func(i int) netip.Addr { return netip.AddrFrom4([4]byte{21, byte(i), 0, 1}) }, 38},
	} {
		t.Run(name, func(t *testing.T) {
			var kept []*netservice.NebService
			besiege(t, func(c *netservice.Config) {
				c.Reserved = []string{"/ip4/1.2.3.4/tcp/1/p2p/" + identityAt(t, 70001)}
				c.Bootstrap = []string{"/ip4/1.2.3.5/tcp/1/p2p/" + identityAt(t, 70002)}
			}, func(t *testing.T, s *siege) {
				in := 0
				for i := range 60 {
					a := &attacker{Host: s.net.Host(t, tc.from(i), libp2p.NoListenAddrs, libp2p.Identity(s.key())), s: s}
					if a.connect() == nil {
						if st, err := a.hello(greeting()); err == nil {
							go s.attend(st, true)
							in++
						}
					}
					time.Sleep(3 * time.Second)
				}
				if n := len(s.victim.Peers()); n != tc.most || in < tc.most {
					t.Errorf("%d peers, %d got in", n, in)
				}
				if tc.most < 38 {
					s.mustServe("beside them")
				}
				for _, node := range []int{70001, 70002} {
					svc := s.service(node, chain())
					if err := svc.Start(); err != nil {
						t.Fatal(err)
					}
					kept = append(kept, svc)
					if err := svc.ConnectPeer(t.Context(), s.addr()); err != nil {
						t.Errorf("node %d: %v", node, err)
					}
				}
			})
		})
	}
}

// identityAt is the ID of the node that a siege has at an address.
func identityAt(t *testing.T, node int) string {
	t.Helper()
	nw := testnet.New(1)
	h := nw.Host(t, nw.Node(node))
	defer h.Close()
	return h.ID().String()
}
