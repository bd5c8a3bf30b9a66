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
	maxAsked    = 8  // of those, dialled to learn who is there
)

// Ask dials an address, and tells who answers there.
type Ask func(ctx context.Context, at ma.Multiaddr) (peer.ID, error)

// DNS finds the peers that the TXT records of a /dnsaddr name list, or those who
// answer at an address that names no peer.
type DNS struct {
	name     ma.Multiaddr
	resolver *madns.Resolver
	ask      Ask
}

// NewDNS makes a source of an address without a peer ID: a /dnsaddr name, or one to
// dial that begins with /dns, /dns4 or /dns6. A nil resolver is the
// system's. Nobody is asked who is at the addresses that a /dnsaddr name lists: who
// owns it could have this node knock anywhere.
func NewDNS(name ma.Multiaddr, resolver *madns.Resolver, ask Ask) *DNS {
	if resolver == nil {
		resolver = madns.DefaultResolver
	}
	return &DNS{name, resolver, ask}
}

// Name implements Source.
func (d *DNS) Name() string { return "dns" }

// Find implements Source. Names in the answers are looked up in turn.
func (d *DNS) Find(ctx context.Context, _ int, found func(peer.AddrInfo)) error {
	queue, seen := []ma.Multiaddr{d.name}, map[string]bool{}
	var full []ma.Multiaddr
	var infos []peer.AddrInfo
	var failed error
	asked := 0
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
			case d.name[0].Protocol().Code != ma.P_DNSADDR:
				if asked++; asked > maxAsked {
					continue
				}
				id, err := d.ask(ctx, a)
				if err != nil {
					failed = fmt.Errorf("ask who is at %s: %w", a, err)
					continue
				}
				infos = append(infos, peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{a}})
			case a[0].Protocol().Code == ma.P_DNSADDR:
				queue = append(queue, a)
			case a[len(a)-1].Protocol().Code == ma.P_P2P && len(full) < maxResolved:
				full = append(full, a)
			}
		}
	}
	listed, err := peer.AddrInfosFromP2pAddrs(full...)
	if err != nil {
		return fmt.Errorf("look up %s: %w", d.name, err)
	}
	infos = append(infos, listed...)
	for _, ai := range infos {
		found(ai)
	}
	if len(infos) == 0 {
		return failed
	}
	return nil
}
