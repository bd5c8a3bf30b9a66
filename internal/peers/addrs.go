package peers

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Addresses kept of one dial target.
const (
	maxAddrs           = 16 // of a peer that discovery named
	maxAddrsPersistent = 64 // of a peer that the operator named
)

// ParseAddrs reads peers written as multiaddrs that end in /p2p/ID, such as
// boot nodes. Several addresses of one ID make one peer, in the order in which
// they are first named. The error names every text that is wrong; the peers
// that are right are returned nevertheless.
func ParseAddrs(texts []string) ([]peer.AddrInfo, error) {
	var out []peer.AddrInfo
	var errs []error
	at := make(map[peer.ID]int)
	for _, text := range texts {
		info, err := peer.AddrInfoFromString(text)
		if err == nil && len(info.Addrs) == 0 {
			err = errors.New("has no address before /p2p")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("peer address %q: %w", text, err))
			continue
		}
		i, ok := at[info.ID]
		if !ok {
			i = len(out)
			at[info.ID] = i
			out = append(out, peer.AddrInfo{ID: info.ID})
		}
		out[i].Addrs = mergeAddrs(out[i].Addrs, info.Addrs, maxAddrsPersistent)
	}
	return out, errors.Join(errs...)
}

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
