package netservice_test

import (
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

var slowTCP = flag.Bool("slowline", false, "run TestSlowLineTCP, which takes some three minutes of real time")

// TestSlowLineTCP is TestSlowLine over real TCP, through a forwarder with a rate, a
// latency and small buffers. It takes real time, mostly to wait, so it has a command of
// its own:
//
//	go test ./netservice -run TestSlowLineTCP -slowline -v -parallel 12
func TestSlowLineTCP(t *testing.T) {
	if !*slowTCP {
		t.Skip("takes real time: go test ./netservice -run TestSlowLineTCP -slowline -v -parallel 12")
	}
	for _, bits := range slowRates {
		for _, load := range slowLoads {
			t.Run(fmt.Sprintf("%dkbit/%s", bits/1000, load.name), func(t *testing.T) {
				t.Parallel()
				s := newSlowLineTCP(t, bits)
				load.begin(t, s)
				s.vote(t, load.count)
			})
		}
	}
}

// newSlowLineTCP is a slow line in real time.
func newSlowLineTCP(t *testing.T, bits int64) *slowLine {
	const latency = 20 * time.Millisecond
	service := func(cfg netservice.Config) *netservice.NebService {
		cfg.ChainID = "c"
		svc, err := netservice.NewNebService(cfg, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return svc
	}
	begin := func(svc *netservice.NebService) {
		if err := svc.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := svc.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
	port := func(a *netservice.NebService) string {
		p, err := a.Node().Host().Network().ListenAddresses()[0].ValueForProtocol(6) // TCP
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	s := &slowLine{bits: bits, trip: 2 * latency}
	s.a = service(netservice.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	s.b = service(netservice.Config{Listen: []string{netservice.ListenNowhere}, NoPeerExchange: true})
	s.subscribe(t)
	begin(s.a)
	begin(s.b)
	f, err := testnet.NewForwarder("127.0.0.1:"+port(s.a), bits, latency)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	through := netip.MustParseAddrPort(f.Addr().String()).Port()
	if err := s.b.ConnectPeer(t.Context(), fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", through, s.a.Node().ID())); err != nil {
		t.Fatal(err)
	}
	if err := s.a.WaitForPeers(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.watch()
	return s
}
