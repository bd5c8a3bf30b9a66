package peers

import (
	"net/netip"
	"time"
)

// How often addresses are dialled on which there never was a peer, by address
// and by neighbourhood. Others name them: without a budget one hostile peer has
// this node knock at a third party's doors thousands of times an hour.
var (
	aimRate       = rate{burst: 16, perSecond: 1.0 / 300}
	aimSubnetRate = rate{burst: 64, perSecond: 1.0 / 60}
)

// aims keeps the budget of each address.
type aims struct {
	addrs   *bounded[netip.Prefix, bucket]
	subnets *bounded[netip.Prefix, bucket]
}

func newAims() *aims {
	return &aims{
		addrs:   newBounded[netip.Prefix](maxBuckets, bucket.less),
		subnets: newBounded[netip.Prefix](maxBuckets, bucket.less),
	}
}

// take takes one dial from the budget of an address, if there is one.
func (a *aims) take(ip netip.Addr, now time.Time) bool {
	if ip.Unmap().IsLoopback() {
		return true
	}
	addr, subnet := neighbourhoods(ip)
	one, _ := a.addrs.get(addr)
	many, _ := a.subnets.get(subnet)
	one, ok := one.take(aimRate, now)
	if !ok {
		return false
	}
	if many, ok = many.take(aimSubnetRate, now); !ok {
		return false
	}
	a.addrs.put(addr, one)
	a.subnets.put(subnet, many)
	return true
}

func (a *aims) sweep(now time.Time) {
	a.addrs.sweep(func(b bucket) bool { return b.usedAt(aimRate, now) == 0 })
	a.subnets.sweep(func(b bucket) bool { return b.usedAt(aimSubnetRate, now) == 0 })
}
