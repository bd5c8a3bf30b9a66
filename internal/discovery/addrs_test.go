package discovery

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

func TestTransportAddr(t *testing.T) {
	_, id := key(t, 1)
	_, other := key(t, 2)
	for _, c := range []struct {
		in, want string // want "": dropped
	}{
		{"/ip4/5.0.1.1/tcp/4001", "/ip4/5.0.1.1/tcp/4001"},
		{"/ip6/2a00::1/tcp/4001", "/ip6/2a00::1/tcp/4001"},
		{"/ip4/5.0.1.1/udp/4001/quic-v1", "/ip4/5.0.1.1/udp/4001/quic-v1"},
		{"/ip4/5.0.1.1/udp/4001/quic-v1/webtransport", "/ip4/5.0.1.1/udp/4001/quic-v1/webtransport"},
		{"/ip4/5.0.1.1/tcp/443/tls/ws", "/ip4/5.0.1.1/tcp/443/tls/ws"},
		{"/ip4/5.0.1.1/tcp/4001/p2p/" + id.String(), "/ip4/5.0.1.1/tcp/4001"},
		{"/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/tcp/4001"},
		{"/ip4/10.1.2.3/tcp/4001", "/ip4/10.1.2.3/tcp/4001"},
		{"/ip4/5.0.1.1/tcp/4001/p2p/" + other.String(), ""},
		{"/ip4/5.0.1.1/tcp/4001/p2p/" + other.String() + "/p2p-circuit", ""},
		{"/ip4/5.0.1.1/tcp/4001/p2p/" + other.String() + "/p2p-circuit/p2p/" + id.String(), ""},
		{"/dns4/example.org/tcp/4001", ""},
		{"/dns/example.org/tcp/4001", ""},
		{"/dnsaddr/example.org", ""},
		{"/ip4/5.0.1.1/tcp/443/tls/sni/example.org/ws", ""},
		{"/ip4/5.0.1.1/tcp/0", ""},
		{"/ip4/5.0.1.1/udp/0/quic-v1", ""},
		{"/ip4/5.0.1.1/udp/4001", ""},
		{"/ip4/5.0.1.1", ""},
		{"/ip4/5.0.1.1/tcp/4001/http", ""},
		{"/ip4/5.0.1.1/tcp/4001/ip4/5.0.2.1/tcp/4001", ""},
		{"/p2p/" + id.String(), ""},
		{"/p2p-circuit", ""},
		{"/unix/tmp/x", ""},
		{"/ip4/0.0.0.0/tcp/4001", ""},
		{"/ip6/::/tcp/4001", ""},
		{"/ip4/224.0.0.1/tcp/4001", ""},
		{"/ip6/ff02::1/tcp/4001", ""},
		{"/ip4/255.255.255.255/tcp/4001", ""},
		{"/ip6/::ffff:5.0.1.1/tcp/4001", ""},
		{"/ip6/fe80::1/tcp/4001", ""},
		{"/ip6zone/eth0/ip6/fe80::1/tcp/4001", ""},
		{"/ip4/5.0.1.1/ipcidr/24/tcp/4001", ""},
		{"/ip4/5.0.1.1/tcp/1/ws/ws/ws/ws/ws/ws/ws", ""},
	} {
		got, ok := transportAddr(ma.StringCast(c.in), id)
		switch {
		case ok != (c.want != ""):
			t.Errorf("%s: kept is %v", c.in, ok)
		case ok && got.String() != c.want:
			t.Errorf("%s: got %s", c.in, got)
		}
	}
	if _, ok := transportAddr(nil, id); ok {
		t.Error("kept an empty address")
	}
}

func TestUsable(t *testing.T) {
	_, id := key(t, 1)
	rec := &peer.PeerRecord{PeerID: id}
	for i := range 50 {
		rec.Addrs = append(rec.Addrs, multiaddrs(
			"/dns4/a.example/tcp/1",
			fmt.Sprintf("/ip4/10.0.0.%d/tcp/1", i),
			fmt.Sprintf("/ip4/5.0.%d.1/tcp/1", i),
			fmt.Sprintf("/ip4/5.0.%d.1/tcp/1/p2p/%s", i, id),
		)...)
	}
	got := usable(rec, manet.IsPublicAddr, noRelay)
	if len(got) != maxAddrs {
		t.Fatalf("%d addresses", len(got))
	}
	for i, a := range got {
		if want := fmt.Sprintf("/ip4/5.0.%d.1/tcp/1", i); a.String() != want {
			t.Errorf("address %d is %s, want %s", i, a, want)
		}
	}
	all := func(ma.Multiaddr) bool { return true }
	if got := usable(rec, all, noRelay); len(got) != maxAddrs || got[0].String() != "/ip4/10.0.0.0/tcp/1" {
		t.Errorf("without a rule: %v", got)
	}
	rec.Addrs = multiaddrs("/dns4/a.example/tcp/1")
	if got := usable(rec, all, noRelay); len(got) != 0 {
		t.Errorf("names only: %v", got)
	}
}

func noRelay(peer.ID) bool { return false }

// What leads through a relay is kept only if that is one to use.
func TestRelayAddr(t *testing.T) {
	_, id := key(t, 1)
	_, relay := key(t, 2)
	_, other := key(t, 3)
	may := func(p peer.ID) bool { return p == relay || p == id }
	at, through := "/ip4/5.0.1.1/udp/4001/quic-v1/p2p/"+relay.String(), "/p2p-circuit"
	for in, want := range map[string]string{
		at + through:                                            at + through,
		at + through + "/p2p/" + id.String():                    at + through,
		at + through + "/p2p/" + other.String():                 "",
		at + "/p2p-circuit/p2p-circuit":                         "",
		"/ip4/5.0.1.1/tcp/1" + through:                          "",
		"/p2p/" + relay.String() + through:                      "",
		"/dns4/a.example/tcp/1/p2p/" + relay.String() + through: "",
		"/ip4/5.0.1.1/tcp/1/p2p/" + other.String() + through:    "",
		"/ip4/5.0.1.1/tcp/1/p2p/" + id.String() + through:       "",
		"/ip4/224.0.0.1/tcp/1/p2p/" + relay.String() + through:  "",
		"/ip4/5.0.1.1/tcp/1/p2p/" + relay.String():              "",
		at + through + "/p2p/" + relay.String() + through:       "",
	} {
		rec := &peer.PeerRecord{PeerID: id, Addrs: multiaddrs(in)}
		got := usable(rec, func(ma.Multiaddr) bool { return true }, may)
		switch {
		case len(got) > 1, (len(got) == 1) != (want != ""):
			t.Errorf("%s: %v", in, got)
		case want != "" && got[0].String() != want:
			t.Errorf("%s: got %s", in, got[0])
		}
	}
}
