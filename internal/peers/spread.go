package peers

import (
	"net/netip"

	"github.com/go-nebnet/nebnet/internal/peers/asn"
)

// provider is the network that a neighbourhood is a part of: its autonomous system
// where that is known, or else the /16 or /32 around it, which is a guess. Only the
// first bounds anything; both serve to compare.
type provider struct {
	asn    uint32
	around netip.Prefix
}

// providerOf takes the first address of a neighbourhood for all of them: no route
// leads to less than a /24 or /48.
func providerOf(group netip.Prefix, systems *asn.Table) provider {
	if !group.IsValid() {
		return provider{}
	}
	if n := systems.Of(group.Addr()); n != 0 {
		return provider{asn: n}
	}
	bits := 16
	if group.Addr().Is6() {
		bits = 32
	}
	p, _ := group.Addr().Prefix(bits)
	return provider{around: p}
}

// spread is what a node has of neighbourhoods and providers among the peers that it
// dialled.
type spread struct {
	groups    map[netip.Prefix]int // by /24 or /48
	providers map[provider]int
	most      shares
	systems   *asn.Table
}

// shares are how many peers may be of one neighbourhood, and of one autonomous system.
type shares struct{ group, system int }

func newSpread(most shares, systems *asn.Table) spread {
	return spread{groups: make(map[netip.Prefix]int), providers: make(map[provider]int), most: most, systems: systems}
}

func (s spread) add(g netip.Prefix) {
	if g.IsValid() {
		s.groups[g]++
		s.providers[s.provider(g)]++
	}
}

func (s spread) provider(g netip.Prefix) provider { return providerOf(g, s.systems) }

// full tells whether there is no place left for a neighbourhood, or for its
// autonomous system.
func (s spread) full(g netip.Prefix) bool {
	return g.IsValid() && (s.groups[g] >= s.most.group || s.systemFull(s.provider(g)))
}

func (s spread) systemFull(p provider) bool { return p.asn != 0 && s.providers[p] >= s.most.system }
