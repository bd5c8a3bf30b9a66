// Package lan finds nodes of the same network by multicast DNS.
package lan

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
)

// maxAddrs bounds the addresses taken of one peer.
const maxAddrs = 8

// ServiceName is the DNS-SD name under which nodes of a network find each other.
// It holds the beginning of the network ID: a label has at most 15 letters.
func ServiceName(network string) string {
	return "_neb-" + network[:min(len(network), 10)] + "._udp"
}

// Finder tells others on the local network of this node, and hands on those that
// it hears of.
type Finder struct {
	service interface {
		Start() error
		Close() error
	}
}

// Start begins to tell and to listen. found is called with each node that is
// heard of, again and again, from a goroutine of the finder's own.
func Start(h host.Host, network string, found func(peer.AddrInfo)) (*Finder, error) {
	f := &Finder{service: mdns.NewMdnsService(h, ServiceName(network), notifee{h.ID(), found})}
	if err := f.service.Start(); err != nil {
		_ = f.service.Close() // the first error tells more
		return nil, fmt.Errorf("multicast DNS: %w", err)
	}
	return f, nil
}

// Close ends both, and waits for the goroutines until ctx ends.
func (f *Finder) Close(ctx context.Context) error {
	var err error
	if !lifecycle.Ended(ctx, lifecycle.Go(func() { err = f.service.Close() })) {
		return ctx.Err()
	}
	return err
}

type notifee struct {
	self  peer.ID
	found func(peer.AddrInfo)
}

// HandlePeerFound implements mdns.Notifee.
func (n notifee) HandlePeerFound(ai peer.AddrInfo) {
	if ai.ID == n.self {
		return
	}
	ai.Addrs = append([]ma.Multiaddr(nil), ai.Addrs[:min(len(ai.Addrs), maxAddrs)]...)
	n.found(ai)
}
