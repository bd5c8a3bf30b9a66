package discovery

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// Bounds of looking names up: who owns a name may point it to others.
const (
	maxNames    = 16 // looked up for one find
	maxResolved = 64 // addresses taken of them
)

// DNS finds the peers that the TXT records of a /dnsaddr name list.
type DNS struct {
	name     ma.Multiaddr
	resolver *madns.Resolver
}

// NewDNS makes a source of a /dnsaddr address. A nil resolver is the system's.
func NewDNS(name ma.Multiaddr, resolver *madns.Resolver) *DNS {
	if resolver == nil {
		resolver = madns.DefaultResolver
	}
	return &DNS{name, resolver}
}

// Name implements Source.
func (d *DNS) Name() string { return "dns" }

// Find implements Source. Names in the answers are looked up in turn.
func (d *DNS) Find(ctx context.Context, _ int, found func(peer.AddrInfo)) error {
	queue, seen := []ma.Multiaddr{d.name}, map[string]bool{}
	var full []ma.Multiaddr
	var failed error
	for looked := 0; len(queue) > 0 && looked < maxNames && len(full) < maxResolved; looked++ {
		name := queue[0]
		queue = queue[1:]
		if key := string(name.Bytes()); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		addrs, err := d.resolver.Resolve(ctx, name)
		if err != nil {
			failed = fmt.Errorf("look up %s: %w", name, err)
			continue
		}
		for _, a := range addrs {
			switch {
			case len(a) == 0:
			case a[0].Protocol().Code == ma.P_DNSADDR:
				queue = append(queue, a)
			case a[len(a)-1].Protocol().Code == ma.P_P2P && len(full) < maxResolved:
				full = append(full, a)
			}
		}
	}
	infos, err := peer.AddrInfosFromP2pAddrs(full...)
	if err != nil {
		return fmt.Errorf("look up %s: %w", d.name, err)
	}
	for _, ai := range infos {
		found(ai)
	}
	if len(infos) == 0 {
		return failed
	}
	return nil
}
