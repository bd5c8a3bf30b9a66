package p2p

import (
	"context"
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// isNameOfPeer tells whether an address is /dnsaddr/host without a peer ID: the name
// says who the peer is.
func isNameOfPeer(a ma.Multiaddr) bool { return len(a) == 1 && a[0].Code() == ma.P_DNSADDR }

// resolve asks the name system who /dnsaddr/host is, as kubo does: all its addresses
// must be of one peer.
func (p *P2P) resolve(ctx context.Context, name ma.Multiaddr) (info peer.AddrInfo, err error) {
	var names madns.BasicResolver = net.DefaultResolver
	if p.resolver != nil {
		names = p.resolver
	}
	r, err := madns.NewResolver(madns.WithDefaultResolver(names))
	if err != nil {
		return info, err
	}
	addrs, err := r.Resolve(ctx, name)
	if err != nil {
		return info, fmt.Errorf("%w: %s: %w", ErrUnreachable, name, err)
	}
	for _, a := range addrs {
		transport, id := peer.SplitAddr(a)
		switch {
		case id == "":
			continue
		case info.ID == "":
			info.ID = id
		case info.ID != id:
			return info, fmt.Errorf("%w: %s is both %s and %s", ErrAddress, name, info.ID, id)
		}
		if len(transport) > 0 {
			info.Addrs = append(info.Addrs, transport)
		}
	}
	if info.ID == "" {
		return info, fmt.Errorf("%w: %s has no address of a peer", ErrUnreachable, name)
	}
	return info, nil
}
