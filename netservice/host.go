package netservice

import (
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/p2phost"
)

// openHost makes the host, or takes the one that the program has.
func (n *Node) openHost() (host.Host, error) {
	h := n.opts.host
	if h == nil {
		made, err := p2phost.New(n.hostConfig())
		return made, listenErrors(err)
	}
	handled := h.Mux().Protocols()
	for _, id := range append(gossip.Protocols(), handshake.ProtocolAny) {
		if slices.Contains(handled, id) {
			return nil, fmt.Errorf("%w: somebody handles %s", ErrHostTaken, id)
		}
	}
	return h, nil
}

func (n *Node) hostConfig() p2phost.Config {
	cfg := p2phost.Config{
		Key: n.key, Listen: n.addrs.listen, Announce: withoutIDs(n.addrs.announce), PSK: n.psk,
		UserAgent: n.cfg.Agent, MaxPeers: n.cfg.MaxPeers + len(n.addrs.reserved),
		NoPrivate: n.cfg.PublicOnly, Gate: n.peers, Crowded: n.peers.NoteCrowded, Obs: n.obs,
		Options: n.opts.hostOpts, Metrics: n.opts.libp2p,
	}
	r := n.cfg.Reachability
	cfg.AutoNAT, cfg.PortMapping, cfg.RelayClient = r.AutoNAT, r.PortMapping, r.RelayClient
	cfg.HolePunching, cfg.RelayService, cfg.Relays = r.HolePunching, r.RelayService, n.addrs.relays
	cfg.RelayAllow, cfg.RelaysFrom = n.mayReserve, n.punching.ready
	cfg.Punches = func(direct func(peer.ID) error) { n.repunch.direct = direct }
	if n.opts.transport != nil {
		cfg.SkipSockets = true
		cfg.Options = append([]libp2p.Option{libp2p.Transport(n.opts.transport)}, cfg.Options...)
	}
	for _, list := range [][]peer.AddrInfo{n.addrs.bootstrap, n.addrs.static, n.addrs.reserved, n.addrs.relays} {
		for _, ai := range list {
			cfg.Trusted = append(cfg.Trusted, ai.Addrs...)
		}
	}
	return cfg
}

// withoutIDs takes this node's ID off addresses that end with it.
func withoutIDs(addrs []ma.Multiaddr) (out []ma.Multiaddr) {
	for _, a := range addrs {
		if at, _ := peer.SplitAddr(a); len(at) > 0 {
			out = append(out, at)
		}
	}
	return out
}
