package netservice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/peers"
	"github.com/go-nebnet/nebnet/internal/peers/asn"
	"github.com/go-nebnet/nebnet/internal/peers/book"
)

// bookFileName is the address book's name in Config.DataDir.
const bookFileName = "peers.book"

// PeerStore keeps the address book for the service: the peers that it knew and
// the bans, at most 32 MiB. It is called from one goroutine at a time.
type PeerStore interface {
	// Load returns what Save was given last, nil when nothing was.
	Load() ([]byte, error)
	// Save replaces it, as a whole or not at all.
	Save(book []byte) error
}

// WithPeerStore has the address book kept by the program, in place of the file
// "peers.book" in Config.DataDir. It is loaded by Start, and saved soon after a
// change and by Stop.
func WithPeerStore(store PeerStore) Option { return func(o *options) { o.store = store } }

func (n *Node) peersConfig(systems *asn.Table) peers.Config {
	return peers.Config{
		Self: n.id, Obs: n.obs, Rand: n.opts.random.For("peers").Float64,
		MaxPeers: n.cfg.MaxPeers, InboundShare: n.cfg.InboundShare, Outbound: n.cfg.OutboundPeers,
		Measure:          n.measure,
		HandshakeTimeout: timeout(n.cfg.HandshakeTimeout),
		Connect:          n.connect,
		Store:            n.peerStore(),
		Allow:            n.mayDial,
		PublicOnly:       n.cfg.PublicOnly,
		Systems:          systems,
	}
}

// readSystems reads Config.ASNFile, if there is one.
func (c Config) readSystems() (*asn.Table, error) {
	if c.ASNFile == "" {
		return nil, nil
	}
	f, err := os.Open(c.ASNFile)
	if err != nil {
		return nil, &ConfigError{Field: "ASNFile", Err: err}
	}
	defer f.Close()
	t, err := asn.Read(f)
	if err != nil {
		return nil, &ConfigError{Field: "ASNFile", Err: fmt.Errorf("%s: %w", c.ASNFile, err)}
	}
	return t, nil
}

// connect makes one attempt to connect to a peer.
func (n *Node) connect(ctx context.Context, ai peer.AddrInfo) error {
	err := n.peerSet.connect(ctx, ai)
	// A handshake that fails has an event of its own.
	if f := n.onUnreached.Load(); f != nil && errors.Is(err, handshake.ReasonUnreachable) && !errors.Is(ctx.Err(), context.Canceled) {
		(*f)(ai.ID, err)
	}
	return err
}

// peerStore is where the address book is kept, nil for nowhere.
func (n *Node) peerStore() peers.Store {
	switch {
	case n.opts.store != nil:
		return n.opts.store
	case n.cfg.DataDir != "":
		return book.File(filepath.Join(n.cfg.DataDir, bookFileName))
	}
	return nil
}

// mayDial refuses addresses that others told of and that are of no use: this
// node's own, private ones where there are none, and those through a relay without
// Reachability.RelayClient or where this node is the relay.
func (n *Node) mayDial(a ma.Multiaddr) bool {
	if n.cfg.PublicOnly && !manet.IsPublicAddr(a) {
		return false
	}
	if p2phost.Relayed(a) {
		relay, err := a.ValueForProtocol(ma.P_P2P)
		return n.cfg.Reachability.RelayClient && err == nil && relay != n.id.String()
	}
	return n.host == nil || !slices.ContainsFunc(n.host.Addrs(), a.Equal)
}

// measure is what the engines know of a session peer. It takes no lock.
func (n *Node) measure(p peer.ID) peers.Measured {
	var m peers.Measured
	if k := n.peerSet.get(p); k != nil {
		m.RTT = k.session.RTT()
	}
	if scores := n.scores.Load(); scores != nil {
		s := (*scores)[p]
		m.Gossip = s.Value + s.Passed
	}
	return m
}

// useful counts a message that a validator accepted for the peer that was the
// first to bring it. Without a validator anything would count.
func (n *Node) useful(from peer.ID, msgType string) {
	if k := n.peerSet.get(from); k != nil {
		k.admission.Useful(1, uint64(n.dispatch.Weight(msgType)))
	}
}

func (n *Node) bookStats() BookStats {
	i := n.peers.BookInfo()
	s := BookStats{Peers: i.Peers, Good: i.Good, Bans: i.Bans, Saved: i.Saved, Bytes: i.Bytes}
	if i.Error != nil {
		s.Error = i.Error.Error()
	}
	return s
}
