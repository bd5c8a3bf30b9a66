package peers

import (
	"net/netip"
	"time"

	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

// What one address and one neighbourhood of addresses may attempt.
var (
	addrRate   = tokenbucket.Rate{PerSecond: 1, Burst: 32}
	subnetRate = tokenbucket.Rate{PerSecond: 4, Burst: 128}
)

// helloRate is how often one peer may say hello: each can end a session and
// make another, and connections of one key may come from many addresses.
var helloRate = tokenbucket.Rate{PerSecond: 0.5, Burst: 16}

// maxBuckets bounds the buckets of each kind.
const maxBuckets = 4096

// neighbourhoods gives the two keys that an address is limited by: the IPv4
// address and its /24, or the IPv6 /64, since one host commonly has a whole
// one, and its /48.
func neighbourhoods(ip netip.Addr) (addr, subnet netip.Prefix) {
	ip = ip.Unmap().WithZone("")
	one, many := 32, 24
	if ip.Is6() {
		one, many = 64, 48
	}
	addr, _ = ip.Prefix(one)
	subnet, _ = ip.Prefix(many)
	return addr, subnet
}

// addrBuckets are token buckets by address and by neighbourhood. Its owner decides what
// is taken of which.
type addrBuckets struct {
	addrs, subnets     *bounded[netip.Prefix, tokenbucket.Bucket]
	perAddr, perSubnet tokenbucket.Rate
}

func newAddrBuckets(perAddr, perSubnet tokenbucket.Rate) addrBuckets {
	return addrBuckets{
		addrs:   newBounded[netip.Prefix](maxBuckets, tokenbucket.Bucket.Less),
		subnets: newBounded[netip.Prefix](maxBuckets, tokenbucket.Bucket.Less),
		perAddr: perAddr, perSubnet: perSubnet,
	}
}

// sweep forgets the buckets that are full again.
func (b *addrBuckets) sweep(now time.Time) {
	b.addrs.sweep(func(x tokenbucket.Bucket) bool { return x.Used(b.perAddr, now) == 0 })
	b.subnets.sweep(func(x tokenbucket.Bucket) bool { return x.Used(b.perSubnet, now) == 0 })
}
