package p2phost

import (
	"net/netip"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

func TestAddrFilter(t *testing.T) {
	open := addrFilter{}
	public := addrFilter{noPrivate: true}
	for _, tc := range []struct {
		addr         string
		open, public bool
	}{
		{"/ip4/8.8.8.8/tcp/1", true, true},
		{"/ip6/2606:4700::1/udp/1/quic-v1", true, true},
		{"/ip4/127.0.0.1/tcp/1", true, false},
		{"/ip4/127.255.0.9/tcp/1", true, false},
		{"/ip6/::1/tcp/1", true, false},
		{"/ip4/10.0.0.1/tcp/1", true, false},
		{"/ip4/10.1.2.3/tcp/1", true, false},
		{"/ip4/172.16.0.1/tcp/1", true, false},
		{"/ip4/172.32.0.1/tcp/1", true, true},
		{"/ip4/192.168.1.1/tcp/1", true, false},
		{"/ip4/169.254.169.254/tcp/1", true, false},
		{"/ip4/100.64.0.1/tcp/1", true, false},
		{"/ip4/198.51.100.7/tcp/1", true, false},
		{"/ip6/fd00::1/tcp/1", true, false},
		{"/ip6/fe80::1/tcp/1", true, false},
		{"/ip6zone/eth0/ip6/fe80::1/tcp/1", true, false},
		// IPv4 in IPv6 disguises.
		{"/ip6/::ffff:127.0.0.1/tcp/1", true, false},
		{"/ip6/::ffff:8.8.8.8/tcp/1", true, true},
		{"/ip6/64:ff9b::7f00:1/tcp/1", true, false},
		{"/ip6/64:ff9b::808:808/tcp/1", true, true},
		{"/ip6/2002:7f00:1::/tcp/1", true, false},
		// Never.
		{"/ip4/0.0.0.0/tcp/1", false, false},
		{"/ip6/::/tcp/1", false, false},
		{"/ip4/224.0.0.1/udp/1/quic-v1", false, false},
		{"/ip6/ff02::1/udp/1/quic-v1", false, false},
		// Not an address yet: only libp2p's own transports could dial it.
		{"/dns4/localhost/tcp/1", true, false},
	} {
		a := ma.StringCast(tc.addr)
		for _, f := range []struct {
			name   string
			filter addrFilter
			want   bool
		}{{"open", open, tc.open}, {"public", public, tc.public}} {
			if got := f.filter.dial(a); got != f.want {
				t.Errorf("%s: dial %s = %v", f.name, tc.addr, got)
			}
		}
	}
}

func TestAnnouncedAddresses(t *testing.T) {
	list := func(s ...string) []ma.Multiaddr {
		var out []ma.Multiaddr
		for _, a := range s {
			out = append(out, ma.StringCast(a))
		}
		return out
	}
	found := list("/ip4/127.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip4/192.168.0.1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/dns4/node.example/tcp/1")
	for _, tc := range []struct {
		name string
		got  []ma.Multiaddr
		want []ma.Multiaddr
	}{
		{"open", addrFilter{}.factory(nil)(found), list("/ip4/127.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip4/192.168.0.1/tcp/1", "/dns4/node.example/tcp/1")},
		{"public", addrFilter{noPrivate: true}.factory(nil)(found), list("/ip4/8.8.8.8/tcp/1", "/dns4/node.example/tcp/1")},
		{"fixed", addrFilter{}.factory(list("/dns4/a.b/tcp/2"))(found), list("/dns4/a.b/tcp/2")},
		{"nothing", addrFilter{}.factory(nil)(nil), nil},
	} {
		if len(tc.got) != len(tc.want) {
			t.Errorf("%s: %v", tc.name, tc.got)
			continue
		}
		for i := range tc.got {
			if !tc.got[i].Equal(tc.want[i]) {
				t.Errorf("%s: %v, want %v", tc.name, tc.got, tc.want)
			}
		}
	}
}

// What manet calls public, the filter must not lose, and whatever netip calls
// private or loopback it must not let through.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"8.8.8.8", "127.0.0.1", "::1", "fd00::1", "64:ff9b::7f00:1", "::ffff:10.0.0.1", "2002::1", "255.255.255.255"} {
		f.Add(netip.MustParseAddr(s).AsSlice())
	}
	public := addrFilter{noPrivate: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		a, err := manet.FromIP(ip.AsSlice())
		if err != nil {
			return
		}
		plain := plainIP(ip)
		if public.dial(a) && (plain.IsLoopback() || plain.IsPrivate() || plain.IsUnspecified() || plain.IsMulticast() || plain.IsLinkLocalUnicast()) {
			t.Fatalf("%s is dialled", ip)
		}
		if plain != plainIP(plain) && !nat64.Contains(ip) {
			t.Fatalf("%s is not plain", plain)
		}
	})
}
