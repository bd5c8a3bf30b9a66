package peers

import (
	ma "github.com/multiformats/go-multiaddr"
)

// Addresses kept of one dial target.
const (
	maxAddrs           = 16 // of a peer that discovery named
	maxAddrsPersistent = 64 // of a peer that the operator named
)

// mergeAddrs adds what is new, up to a limit, and keeps what is there: a
// failure or a newer list never takes a configured address away.
func mergeAddrs(have, add []ma.Multiaddr, limit int) []ma.Multiaddr {
	out := append([]ma.Multiaddr(nil), have...)
	for _, a := range add {
		if a == nil || len(out) >= limit {
			continue
		}
		if !ma.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
