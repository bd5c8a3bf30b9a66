package p2phost

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
)

// relayBackoff is how long a relay that refused is left alone.
const relayBackoff = 30 * time.Second

// reach are the options against NATs.
func reach(c Config) (opts []libp2p.Option) {
	if c.AutoNAT {
		opts = append(opts, libp2p.EnableNATService(), libp2p.EnableAutoNATv2())
	}
	if c.PortMapping {
		opts = append(opts, libp2p.NATManager(newPortMapper))
	}
	if c.RelayClient || c.HolePunching || c.RelayService {
		opts = append(opts, libp2p.EnableRelay())
	}
	if c.HolePunching {
		opts = append(opts, libp2p.EnableHolePunching(func(s *holepunch.Service) error {
			if c.Punches != nil {
				c.Punches(s.DirectConnect)
			}
			return nil
		}))
	}
	if c.RelayClient && len(c.Relays) > 0 {
		n := len(c.Relays)
		opts = append(opts, libp2p.EnableAutoRelayWithPeerSource(relays(c),
			autorelay.WithMinCandidates(n), autorelay.WithMaxCandidates(n), autorelay.WithNumRelays(n),
			autorelay.WithBootDelay(0), autorelay.WithBackoff(relayBackoff), autorelay.WithMinInterval(5*time.Second)))
	}
	if c.RelayService {
		// With limits of time and bytes no session could live over it.
		opts = append(opts, libp2p.EnableRelayService(relay.WithInfiniteLimits(), relay.WithACL(relayACL{c.RelayAllow})))
	}
	switch {
	case c.AutoNAT:
	case c.RelayService:
		opts = append(opts, libp2p.ForceReachabilityPublic())
	case c.RelayClient && len(c.Relays) > 0:
		opts = append(opts, libp2p.ForceReachabilityPrivate())
	}
	return opts
}

// Relayed tells whether an address leads through a relay.
func Relayed(a ma.Multiaddr) bool {
	return slices.ContainsFunc(a, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CIRCUIT })
}

// relays hands over the relays, when their time has come.
func relays(c Config) autorelay.PeerSource {
	return func(ctx context.Context, most int) <-chan peer.AddrInfo {
		some := c.Relays[:min(most, len(c.Relays))]
		out := make(chan peer.AddrInfo, len(some))
		go func() { // ends with ctx, which ends with the host
			defer close(out)
			if c.RelaysFrom != nil {
				select {
				case <-c.RelaysFrom:
				case <-ctx.Done():
					return
				}
			}
			for _, ai := range some {
				out <- ai
			}
		}()
		return out
	}
}

// relayACL lets some peers use the relay service.
type relayACL struct{ allow func(peer.ID) bool }

// AllowReserve implements relay.ACLFilter.
func (a relayACL) AllowReserve(p peer.ID, _ ma.Multiaddr) bool { return a.allow == nil || a.allow(p) }

// AllowConnect implements relay.ACLFilter: whoever has a reservation was allowed
// it, and wants to be reached.
func (a relayACL) AllowConnect(_ peer.ID, _ ma.Multiaddr, _ peer.ID) bool { return true }
