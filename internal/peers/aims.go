package peers

import (
	"net/netip"
	"time"

	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

// How often addresses are dialled on which there never was a peer, by address
// and by neighbourhood. Others name them: without a budget one hostile peer has
// this node knock at a third party's doors thousands of times an hour.
var (
	aimRate       = tokenbucket.Rate{PerSecond: 1.0 / 300, Burst: 16}
	aimSubnetRate = tokenbucket.Rate{PerSecond: 1.0 / 60, Burst: 64}
)

// aims keeps the budget of each address.
type aims struct{ addrBuckets }

func newAims() *aims { return &aims{newAddrBuckets(aimRate, aimSubnetRate)} }

// take takes one dial from the budget of an address, if there is one. Where a
// neighbourhood has none left, the address keeps its own: nothing was dialled.
func (a *aims) take(ip netip.Addr, now time.Time) bool {
	if ip.Unmap().IsLoopback() {
		return true
	}
	addr, subnet := neighbourhoods(ip)
	one, _ := a.addrs.get(addr)
	many, _ := a.subnets.get(subnet)
	if !one.Take(a.perAddr, now, 1) || !many.Take(a.perSubnet, now, 1) {
		return false
	}
	a.addrs.put(addr, one)
	a.subnets.put(subnet, many)
	return true
}
