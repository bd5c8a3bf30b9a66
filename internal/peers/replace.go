package peers

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// minStay is how long a peer has its place before a better one may take it.
const minStay = 30 * time.Second

// incumbent is a session peer as replacement sees it.
type incumbent struct {
	id    peer.ID
	group netip.Prefix // neighbourhood, the zero one is exempt
	safe  bool         // reserved or persistent
	age   time.Duration
	rtt   time.Duration // 0 unknown
	value Value
}

// newcomer is a peer for which there is no place.
type newcomer struct {
	group  netip.Prefix
	useful float64 // Value.Useful of when it was last here
}

// victim chooses who of the inbound peers gives way to a newcomer, if anybody.
// First come those who are never given up: reserved and persistent peers, new
// ones, and an eighth each of the longest here, the most useful and the nearest.
// Of the rest, one in the neighbourhood of which there are most goes, if the
// newcomer's has fewer; or else the one worth least, if the newcomer was more
// useful when it was last here. No peer can better its own standing by messages
// that nobody else brings later, by many addresses of one network, or by coming
// again.
func victim(all []incumbent, n newcomer) (peer.ID, bool) {
	rest := slices.DeleteFunc(slices.Clone(all), func(s incumbent) bool { return s.safe || s.age < minStay })
	for _, ids := range protections(all) {
		rest = slices.DeleteFunc(rest, func(s incumbent) bool { return slices.Contains(ids, s.id) })
	}
	if len(rest) == 0 {
		return "", false
	}
	perGroup := make(map[netip.Prefix]int)
	for _, s := range all {
		if s.group.IsValid() {
			perGroup[s.group]++
		}
	}
	slices.SortFunc(rest, func(a, b incumbent) int {
		return cmp.Or(cmp.Compare(perGroup[b.group], perGroup[a.group]), cmp.Compare(a.value.Total(), b.value.Total()),
			cmp.Compare(a.age, b.age), cmp.Compare(a.id, b.id))
	})
	worst := rest[0]
	if perGroup[worst.group] >= 2 && n.group.IsValid() && perGroup[n.group]+1 < perGroup[worst.group] {
		return worst.id, true
	}
	worst = slices.MinFunc(rest, func(a, b incumbent) int { return cmp.Compare(a.value.Total(), b.value.Total()) })
	if n.useful > 0 && n.useful > worst.value.Total() {
		return worst.id, true
	}
	return "", false
}

// protections are the inbound peers that stay whatever comes, by why: an eighth
// each, at least one.
func protections(all []incumbent) map[string][]peer.ID {
	rest := slices.DeleteFunc(slices.Clone(all), func(s incumbent) bool { return s.safe || s.age < minStay })
	n := max(1, len(all)/8)
	out := make(map[string][]peer.ID)
	for _, by := range []struct {
		kind string
		cmp  func(a, b incumbent) int
	}{
		{"longest here", func(a, b incumbent) int { return cmp.Compare(b.age, a.age) }},
		{"most useful", func(a, b incumbent) int { return cmp.Compare(b.value.Useful, a.value.Useful) }},
		{"nearest", func(a, b incumbent) int { return cmp.Compare(nearness(a), nearness(b)) }},
	} {
		slices.SortStableFunc(rest, by.cmp)
		k := min(n, len(rest))
		for _, s := range rest[:k] {
			out[by.kind] = append(out[by.kind], s.id)
		}
		rest = rest[k:]
	}
	return out
}

// nearness puts peers whose round trip is not known last.
func nearness(s incumbent) time.Duration {
	if s.rtt <= 0 {
		return time.Hour
	}
	return s.rtt
}
