package peers

import (
	"net/netip"
	"time"
)

// rate is a token bucket's rule: burst at once, then perSecond.
type rate struct {
	burst     float64
	perSecond float64
}

// What one address and one neighbourhood of addresses may attempt.
var (
	addrRate   = rate{burst: 32, perSecond: 1}
	subnetRate = rate{burst: 128, perSecond: 4}
)

// helloRate is how often one peer may say hello: each can end a session and
// make another, and connections of one key may come from many addresses.
var helloRate = rate{burst: 16, perSecond: 0.5}

// maxBuckets bounds the buckets of each kind.
const maxBuckets = 4096

// bucket is the state of one token bucket; the zero bucket is full.
type bucket struct {
	used float64 // tokens taken and not yet refilled
	at   time.Time
}

// take takes one token, if there is one.
func (b bucket) take(r rate, now time.Time) (bucket, bool) {
	used := b.usedAt(r, now)
	if used+1 > r.burst {
		return bucket{used, now}, false
	}
	return bucket{used + 1, now}, true
}

func (b bucket) usedAt(r rate, now time.Time) float64 {
	if d := now.Sub(b.at); d > 0 && b.used > 0 {
		return max(0, b.used-d.Seconds()*r.perSecond)
	}
	return b.used
}

// less makes the cap on buckets give up the one that was used less: losing it
// gives away less.
func (b bucket) less(o bucket) bool { return b.used < o.used }

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
