package p2phost

import (
	"net/netip"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// special are the networks that are not reachable over the public Internet,
// after the IANA special-purpose registries.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	"2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

// private are the special networks that real nodes live in: one machine, one
// cluster, one company.
var private = prefixes(
	"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
	"fc00::/7", "fe80::/10",
)

var loopback = prefixes("127.0.0.0/8", "::1/128")

// nat64 carries an IPv4 address in its last four bytes.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(s ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(s))
	for i := range s {
		out[i] = netip.MustParsePrefix(s[i])
	}
	return out
}

func within(ip netip.Addr, nets []netip.Prefix) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// addrIP returns the IP address that a multiaddr starts with, with IPv4 in
// IPv6 disguises taken off.
func addrIP(a ma.Multiaddr) (netip.Addr, bool) {
	raw, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.Addr{}, false
	}
	return plainIP(ip), true
}

func plainIP(ip netip.Addr) netip.Addr {
	ip = ip.WithZone("").Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

// addrFilter decides which addresses are dialled and announced. Connections are
// accepted from everywhere: a balancer in front of the node has a private
// address too.
type addrFilter struct{ noPrivate bool }

// dial judges an address as it is about to be dialled, that is after DNS.
func (f addrFilter) dial(a ma.Multiaddr) bool {
	ip, ok := addrIP(a)
	if !ok {
		return !f.noPrivate
	}
	return !ip.IsUnspecified() && !ip.IsMulticast() && f.permits(ip)
}

// mayDial judges an address as it is configured: a name may lead anywhere.
func (f addrFilter) mayDial(a ma.Multiaddr) bool {
	if len(a) > 0 {
		switch a[0].Protocol().Code {
		case ma.P_DNS, ma.P_DNS4, ma.P_DNS6, ma.P_DNSADDR:
			return true
		}
	}
	return f.dial(a)
}

// announce judges an address that peers would be told. Names are kept: the
// application chose them.
func (f addrFilter) announce(a ma.Multiaddr) bool {
	ip, ok := addrIP(a)
	return !ok || !ip.IsUnspecified() && f.permits(ip)
}

func (f addrFilter) permits(ip netip.Addr) bool { return !f.noPrivate || !within(ip, special) }

// factory tells libp2p which addresses to announce: those of the list, else
// those found that pass the filter.
func (f addrFilter) factory(announce []ma.Multiaddr) func([]ma.Multiaddr) []ma.Multiaddr {
	if len(announce) > 0 {
		fixed := slices.Clone(announce)
		return func([]ma.Multiaddr) []ma.Multiaddr { return slices.Clone(fixed) }
	}
	return func(found []ma.Multiaddr) []ma.Multiaddr {
		out := make([]ma.Multiaddr, 0, len(found))
		for _, a := range found {
			if f.announce(a) {
				out = append(out, a)
			}
		}
		return out
	}
}

// isTCP and isQUIC tell the two forms that a host listens on.
func isTCP(a ma.Multiaddr) bool { return has(a, ma.P_TCP) }

func isQUIC(a ma.Multiaddr) bool { return has(a, ma.P_UDP, ma.P_QUIC_V1) }

func has(a ma.Multiaddr, tail ...int) bool {
	if len(a) != 1+len(tail) || a[0].Protocol().Code != ma.P_IP4 && a[0].Protocol().Code != ma.P_IP6 {
		return false
	}
	for i, code := range tail {
		if a[i+1].Protocol().Code != code {
			return false
		}
	}
	return true
}

func anyPort(a ma.Multiaddr) bool {
	for _, code := range []int{ma.P_TCP, ma.P_UDP} {
		if v, err := a.ValueForProtocol(code); err == nil {
			return v == "0"
		}
	}
	return false
}
