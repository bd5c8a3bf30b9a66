package peers

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// Row 55: an address, a neighbourhood, and an autonomous system, has a share of the inbound slots, and
// peers to keep always have a place.
func TestInboundShare(t *testing.T) {
	addr := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	for name, tc := range map[string]struct {
		from func(i int) string
		want int
	}{
		"one IPv4 address":  {func(i int) string { return addr("/ip4/66.6.6.6/tcp/%d", 1000+i) }, 4},
		"one IPv4 /24":      {func(i int) string { return addr("/ip4/66.6.6.%d/tcp/1", i) }, 9},
		"one IPv6 /48":      {func(i int) string { return addr("/ip6/2a00:1:2:%x::1/tcp/1", i) }, 9},
		"many /24":          {func(i int) string { return addr("/ip4/66.6.%d.1/tcp/1", i) }, 38},
		"of one system":     {func(i int) string { return addr("/ip4/77.6.%d.1/tcp/1", i) }, 19},
		"of a known one":    {func(i int) string { return addr("/ip6/2001:4860:%x::1/tcp/1", i) }, 19},
		"of two systems":    {func(i int) string { return addr("/ip4/%d.6.%d.1/tcp/1", 77+i%2, i) }, 38},
		"this machine":      {func(int) string { return "/ip4/127.0.0.1/tcp/1" }, 38},
		"a private network": {func(i int) string { return addr("/ip4/10.0.0.%d/tcp/1", i) }, 38},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, Config{MaxPeers: 50, InboundShare: 0.75, Systems: systems(t, "77.0.0.0/8 7\n78.0.0.0/8 8")}, nil, func(t *testing.T, fx *fixture) {
				in := 0
				enter := func(i int) handshake.Reason {
					tk, r := fx.Admit(peerN(i), dirIn, 1, info("", tc.from(i%200)).Addrs[0])
					if r == none {
						r = fx.commit(tk)
					}
					return r
				}
				for i := range 60 {
					if enter(i) == none {
						in++
					}
				}
				if in != tc.want {
					t.Errorf("%d of 60 got in, want %d", in, tc.want)
				}
				fx.name(info(peerN(300)), RoleReserved)
				fx.name(info(peerN(301)), RoleStatic)
				for _, i := range []int{300, 301} {
					if r := enter(i); r != none {
						t.Errorf("a peer to keep: %v", r)
					}
				}
				time.Sleep(time.Second)
			})
		})
	}
}
