package netservice

import (
	"context"
	"errors"
	"slices"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/discovery/kad"
	"github.com/go-nebnet/nebnet/internal/discovery/lan"
	"github.com/go-nebnet/nebnet/internal/peers/book"
)

// localSource finds nodes by multicast DNS.
func (n *Node) localSource() wantedSource {
	return wantedSource{start: func(context.Context) (func(context.Context) error, error) {
		f, err := lan.Start(n.host, n.network, func(ai peer.AddrInfo) {
			n.peers.Learn(book.Told{Peer: ai, Source: book.FromLAN})
		})
		if err != nil {
			return nil, err
		}
		return f.Close, nil
	}}
}

// kademliaSource is a node of a hash table, and what asks it for peers.
func (n *Node) kademliaSource(d Discovery, boot []peer.AddrInfo) wantedSource {
	return wantedSource{
		key: d.KademliaPrefix + " " + d.KademliaMode,
		start: func(ctx context.Context) (func(context.Context) error, error) {
			cfg := kad.Config{
				Host: n.host, Network: n.network, Foreign: d.KademliaPrefix,
				Boot:  func() []peer.AddrInfo { return boot },
				Mode:  map[string]kad.Mode{KademliaServer: kad.Server, KademliaClient: kad.Client}[d.KademliaMode],
				Allow: n.mayTake, Exempt: n.exempt,
			}
			if d.KademliaPrefix == "" {
				cfg.Host = membersHost{n.host, n}
				cfg.Boot = n.sessionInfos
			}
			f, err := kad.Start(cfg)
			if err != nil {
				return nil, err
			}
			stop, err := n.polled(f, book.FromKademlia, "").start(ctx)
			return func(ctx context.Context) error { return errors.Join(stop(ctx), f.Close(ctx)) }, err
		},
	}
}

// sessionInfos are the session peers, for a hash table to begin with.
func (n *Node) sessionInfos() []peer.AddrInfo {
	var out []peer.AddrInfo
	for _, k := range n.peerSet.all() {
		out = append(out, n.host.Peerstore().PeerInfo(k.id))
	}
	return out
}

// mayTake decides which addresses are taken of who is not known to be in the same
// network: a node with a public address is not sent to private ones.
func (n *Node) mayTake(a ma.Multiaddr) bool {
	if undialable(a) != nil && n.opts.transport == nil {
		return false
	}
	if manet.IsPublicAddr(a) {
		return true
	}
	if n.cfg.PublicOnly {
		return false
	}
	return !slices.ContainsFunc(n.host.Addrs(), manet.IsPublicAddr)
}

// exempt tells of addresses that are of no neighbourhood.
func (n *Node) exempt(a ma.Multiaddr) bool {
	return manet.IsIPLoopback(a) || !n.cfg.PublicOnly && !manet.IsPublicAddr(a)
}

// servesStrangers tells whether connections without a session are of use: for an
// open topic, or for the hash table of another network.
func (n *Node) servesStrangers() bool {
	return n.types.hasOpen() || n.live.Load().cfg.Discovery.KademliaPrefix != ""
}

// membersHost is the host for protocols that are for session peers only: streams
// of others are reset, and a stream to another one makes a session first, if there
// is a place.
type membersHost struct {
	host.Host
	n *Node
}

var errNoPlace = errors.New("no peers are looked for")

// SetStreamHandler implements host.Host.
func (h membersHost) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s network.Stream) {
		if !h.n.peerSet.member(s.Conn().RemotePeer()) {
			_ = s.ResetWithError(network.StreamGated) // it is closed already, if this fails
			return
		}
		handler(s)
	})
}

// Connect implements host.Host.
func (h membersHost) Connect(ctx context.Context, ai peer.AddrInfo) error {
	if h.n.peerSet.has(ai.ID) {
		return nil
	}
	if h.n.peers.Wanted() <= 0 {
		return errNoPlace
	}
	if len(ai.Addrs) == 0 {
		ai = h.Peerstore().PeerInfo(ai.ID)
	}
	return h.n.peerSet.connect(ctx, ai)
}

// NewStream implements host.Host.
func (h membersHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	if err := h.Connect(ctx, peer.AddrInfo{ID: p}); err != nil {
		return nil, err
	}
	return onSessions(h).NewStream(network.WithNoDial(ctx, "session peers only"), p, ids...)
}
