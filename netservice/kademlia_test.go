package netservice_test

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// looped starts a service on this machine.
func looped(t *testing.T, change func(*netservice.Config)) *netservice.NebService {
	t.Helper()
	cfg := chain()
	cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	cfg.NoPeerExchange = true // what is found is found by the hash table
	change(&cfg)
	s, err := netservice.NewNebService(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Nodes of one chain find each other by their own hash table, starting from one
// that they all know.
func TestKademlia(t *testing.T) {
	on := func(c *netservice.Config) { c.Discovery.Kademlia = true }
	boot := looped(t, on)
	addr := boot.Node().Addrs()[0].String()
	var nodes []*netservice.NebService
	for range 4 {
		nodes = append(nodes, looped(t, func(c *netservice.Config) { on(c); c.Bootstrap = []string{addr} }))
	}
	for _, s := range nodes {
		testkit.Eventually(t, "peers by the hash table", func() bool { return len(s.Peers()) >= 3 })
	}
}

// plainTable makes nodes of a hash table that know nothing of this library.
func plainTable(t *testing.T, n int) []host.Host {
	t.Helper()
	var hosts []host.Host
	for range n {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		d, err := dht.New(h, dht.Mode(dht.ModeServer), dht.V1ProtocolOverride("/plain/kad/1.0.0"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		if len(hosts) > 0 {
			if err := h.Connect(t.Context(), peer.AddrInfo{ID: hosts[0].ID(), Addrs: hosts[0].Addrs()}); err != nil {
				t.Fatal(err)
			}
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// Two nodes that know nobody of their chain find each other in the hash table of a
// plain go-libp2p-kad-dht network, whose nodes are no peers of theirs and are not
// cut off.
func TestForeignKademlia(t *testing.T) {
	table := plainTable(t, 5)
	boot := table[0].Addrs()[0].String() + "/p2p/" + table[0].ID().String()
	join := func(c *netservice.Config) {
		c.Discovery.KademliaPrefix, c.Discovery.KademliaPeers = "/plain", []string{boot}
		c.HandshakeTimeout = netservice.Duration(500 * time.Millisecond)
	}
	a, b := looped(t, join), looped(t, join)
	testkit.Eventually(t, "a peer of the chain", func() bool { return len(a.Peers()) == 1 && len(b.Peers()) == 1 })
	if id := a.Peers()[0].ID; id != b.Node().ID() {
		t.Errorf("%s is no peer", id)
	}
	if n := len(table[0].Network().ConnsToPeer(a.Node().ID())); n == 0 {
		t.Error("the table's nodes are cut off")
	}
}
