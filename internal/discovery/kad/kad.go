// Package kad finds peers by a Kademlia hash table: the network's own, or, by what
// nodes announce there, another network's.
package kad

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/discovery/routing"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
)

// Mode says whether a node answers others.
type Mode uint8

// The modes.
const (
	Auto   Mode = iota // server, unless the host finds out that it is private
	Server             // answers
	Client             // asks only
)

// Bounds of what is taken of one look-up, and its times.
const (
	maxAddrs      = 8
	announceAgain = 3 * time.Hour // a hash table forgets
	announceSoon  = time.Minute   // after a failure
)

// Config describes a Finder.
type Config struct {
	// Host is what the table runs on. For a network's own table it should refuse
	// who is no peer: see the connection gater of the owner. Required.
	Host host.Host
	// Network is the network ID. Required.
	Network string
	// Foreign is the protocol prefix of another network's table; empty for the
	// network's own.
	Foreign string
	// Boot is where to begin, asked for when the table is empty. Required.
	Boot func() []peer.AddrInfo
	Mode Mode
	// Allow says which addresses are taken and told. Default: all.
	Allow func(ma.Multiaddr) bool
	// Exempt says which addresses do not count in the limits for each
	// neighbourhood. Default: none.
	Exempt func(ma.Multiaddr) bool
}

// Finder is a node of a hash table. It is a discovery source.
type Finder struct {
	cfg    Config
	dht    *dht.IpfsDHT
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
}

// Prefix is the prefix of the protocol of a network's own table.
func Prefix(network string) protocol.ID { return protocol.ID("/neb/" + network) }

// Start makes a node of the table.
func Start(cfg Config) (*Finder, error) {
	if cfg.Allow == nil {
		cfg.Allow = func(ma.Multiaddr) bool { return true }
	}
	if cfg.Exempt == nil {
		cfg.Exempt = func(ma.Multiaddr) bool { return false }
	}
	f := &Finder{cfg: cfg}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	opts := []dht.Option{
		dht.Mode(map[Mode]dht.ModeOpt{Auto: dht.ModeAutoServer, Server: dht.ModeServer, Client: dht.ModeClient}[cfg.Mode]),
		dht.BootstrapPeersFunc(cfg.Boot),
		dht.AddressFilter(f.filter),
		dht.RoutingTablePeerDiversityFilter(newDiversity(cfg.Host, cfg.Exempt)),
	}
	if cfg.Foreign == "" {
		// Nothing is kept here for others, and nobody is looked for unasked.
		opts = append(opts, dht.ProtocolPrefix(Prefix(cfg.Network)), dht.DisableValues(), dht.DisableProviders(), dht.DisableAutoRefresh())
	} else {
		opts = append(opts, dht.ProtocolPrefix(protocol.ID(cfg.Foreign)))
	}
	var err error
	if f.dht, err = dht.New(cfg.Host, opts...); err != nil {
		f.cancel()
		return nil, fmt.Errorf("kademlia: %w", err)
	}
	if cfg.Foreign != "" {
		f.wg.Go(f.announce)
	}
	return f, nil
}

func (f *Finder) filter(addrs []ma.Multiaddr) []ma.Multiaddr {
	out := make([]ma.Multiaddr, 0, len(addrs))
	for _, a := range addrs {
		if f.cfg.Allow(a) {
			out = append(out, a)
		}
	}
	return out
}

// namespace is under what nodes of the network announce themselves elsewhere.
func (f *Finder) namespace() string { return "/neb/" + f.cfg.Network }

// announce tells the other network's table of this node, for as long as it runs.
func (f *Finder) announce() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-timer.C:
		}
		wait := announceSoon
		if err := f.join(f.ctx); err == nil {
			if _, err := routing.NewRoutingDiscovery(f.dht).Advertise(f.ctx, f.namespace()); err == nil {
				wait = announceAgain
			}
		}
		timer.Reset(wait)
	}
}

// join sees to it that the table is not empty.
func (f *Finder) join(ctx context.Context) error {
	if f.dht.RoutingTable().Size() > 0 {
		return nil
	}
	var errs []error
	for _, ai := range f.cfg.Boot() {
		if err := f.cfg.Host.Connect(ctx, ai); err != nil {
			errs = append(errs, err)
		}
	}
	select {
	case err := <-f.dht.RefreshRoutingTable():
		errs = append(errs, err)
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.dht.RoutingTable().Size() > 0 {
		return nil
	}
	return fmt.Errorf("nobody of the table is reached: %w", errors.Join(errs...))
}

// Name implements discovery.Source.
func (f *Finder) Name() string { return "kademlia" }

// Find implements discovery.Source: a walk to a random place of the own table, or
// a look-up of who announced itself in the other one.
func (f *Finder) Find(ctx context.Context, want int, found func(peer.AddrInfo)) error {
	if err := f.join(ctx); err != nil {
		return err
	}
	if f.cfg.Foreign != "" {
		peers, err := routing.NewRoutingDiscovery(f.dht).FindPeers(ctx, f.namespace())
		if err != nil {
			return err
		}
		for ai := range peers {
			f.hand(ai, found)
		}
		return nil
	}
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	ids, err := f.dht.GetClosestPeers(ctx, string(key[:]))
	for _, p := range ids {
		f.hand(f.cfg.Host.Peerstore().PeerInfo(p), found)
	}
	// Those next to this node are of interest as well: a small table is known whole.
	for _, p := range f.dht.RoutingTable().ListPeers() {
		f.hand(f.cfg.Host.Peerstore().PeerInfo(p), found)
	}
	return err
}

func (f *Finder) hand(ai peer.AddrInfo, found func(peer.AddrInfo)) {
	ai.Addrs = f.filter(ai.Addrs)
	if ai.ID == f.cfg.Host.ID() || len(ai.Addrs) == 0 {
		return
	}
	ai.Addrs = ai.Addrs[:min(len(ai.Addrs), maxAddrs)]
	found(ai)
}

// Known is the number of peers in the table.
func (f *Finder) Known() int { return f.dht.RoutingTable().Size() }

// Close leaves the table, and waits for its goroutines until ctx ends.
func (f *Finder) Close(ctx context.Context) error {
	var err error
	if !lifecycle.Ended(ctx, lifecycle.Go(func() {
		f.once.Do(func() {
			f.cancel()
			err = f.dht.Close()
		})
		f.wg.Wait()
	})) {
		return ctx.Err()
	}
	return err
}
