package p2phost

import (
	"math"
	"net/netip"
	"time"

	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
)

// Prefix lengths that stand for one customer and for one neighbourhood.
const (
	ip4One, ip4Many = 32, 24
	ip6One, ip6Many = 56, 48
)

// New connections a second that a network may open for ever, after a burst of
// twice the connections it may hold.
const (
	connRatePerIP     = 2
	connRatePerSubnet = 8
)

// exempt lists the networks without limits per address: the machine itself,
// and private networks unless the host is for the public Internet only, where
// one address may stand for a whole chain behind a NAT or in a cluster.
func exempt(c Config) []netip.Prefix {
	nets := append([]netip.Prefix(nil), loopback...)
	if !c.NoPrivate {
		nets = append(nets, private...)
	}
	return nets
}

// trustedNets returns the addresses in Trusted that have an IP.
func trustedNets(c Config) (nets []netip.Prefix, addrs []ma.Multiaddr) {
	for _, a := range c.Trusted {
		if ip, ok := addrIP(a); ok {
			nets = append(nets, netip.PrefixFrom(ip, ip.BitLen()))
			addrs = append(addrs, a)
		}
	}
	return nets, addrs
}

// perAddress returns the resource manager's options that bound connections by
// address, in number and in rate.
func perAddress(c Config) []rcmgr.Option {
	trusted, addrs := trustedNets(c)
	var v4, v6 []rcmgr.NetworkPrefixLimit
	var rates []rate.PrefixLimit
	for _, p := range append(exempt(c), trusted...) {
		l := rcmgr.NetworkPrefixLimit{Network: p, ConnCount: math.MaxInt}
		if p.Addr().Is4() {
			v4 = append(v4, l)
		} else {
			v6 = append(v6, l)
		}
		rates = append(rates, rate.PrefixLimit{Prefix: p}) // the zero Limit: no limit
	}
	one, many := count(c.ConnsPerIP), count(c.ConnsPerSubnet)
	subnet := func(bits, n int, rps float64) []rate.SubnetLimit {
		if n == math.MaxInt {
			return nil
		}
		return []rate.SubnetLimit{{PrefixLength: bits, Limit: rate.Limit{RPS: rps, Burst: 2 * n}}}
	}
	return []rcmgr.Option{
		rcmgr.WithNetworkPrefixLimit(v4, v6),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: ip4One, ConnCount: one}, {PrefixLength: ip4Many, ConnCount: many}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: ip6One, ConnCount: one}, {PrefixLength: ip6Many, ConnCount: many}},
		),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: rates,
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: append(subnet(ip4One, one, connRatePerIP), subnet(ip4Many, many, connRatePerSubnet)...),
				IPv6SubnetLimits: append(subnet(ip6One, one, connRatePerIP), subnet(ip6Many, many, connRatePerSubnet)...),
				GracePeriod:      time.Minute,
			},
		}),
		rcmgr.WithAllowlistedMultiaddrs(addrs),
	}
}
