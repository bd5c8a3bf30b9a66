package netservice

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/p2phost"
)

// ReachabilityStats tells whether others can reach this node, and through what.
type ReachabilityStats struct {
	// State is "public", "private" or, before anything was found out and without
	// Reachability.AutoNAT, "unknown".
	State string
	// Addrs are the addresses that others are told.
	Addrs []string
	// Public, Mapped and Relayed are how many of them are public, are public
	// although no such address is listened on (forwarded, announced or observed),
	// and lead through a relay.
	Public, Mapped, Relayed int
}

// punchWait is how long after the start nobody is dialled through a relay, nor told
// that this node is behind one, unless this node takes part in hole punching
// earlier. A peer begins to punch as soon as another is connected to it through a
// relay, and only then: with one that is not ready, it would stay behind the relay
// for as long as the connection lasts. Ready is who knows an address of its own that
// others see, a few seconds after the first connections.
const punchWait = 10 * time.Second

// punching tells when this node takes part in hole punching.
type punching struct {
	ready chan struct{} // closed then, and after punchWait
	begin func()        // closes it
}

func newPunching() punching {
	ready := make(chan struct{})
	return punching{ready, sync.OnceFunc(func() { close(ready) })}
}

// reachWatch follows what the host finds out.
type reachWatch struct {
	state atomic.Int32 // a network.Reachability
	sub   event.Subscription
	done  chan struct{}
	most  *time.Timer // of punchWait
}

// watchReach starts to follow; a changed address also has failed dials tried soon.
func (n *Node) watchReach() error {
	sub, err := n.host.EventBus().Subscribe(
		[]any{new(event.EvtLocalReachabilityChanged), new(event.EvtLocalAddressesUpdated), new(event.EvtLocalProtocolsUpdated)},
		eventbus.BufSize(16), eventbus.Name("nebnet/reachability"))
	if err != nil {
		return err
	}
	handled := func(ids []protocol.ID) {
		if slices.Contains(ids, holepunch.Protocol) {
			n.punching.begin()
		}
	}
	if !n.cfg.Reachability.HolePunching {
		n.punching.begin()
	}
	handled(n.host.Mux().Protocols())
	w := &reachWatch{sub: sub, done: make(chan struct{}), most: time.AfterFunc(punchWait, n.punching.begin)}
	n.reach.Store(w)
	go func() {
		defer close(w.done)
		for e := range sub.Out() { // ends with close
			switch e := e.(type) {
			case event.EvtLocalReachabilityChanged:
				w.state.Store(int32(e.Reachability))
				n.repunch.changed("")
			case event.EvtLocalAddressesUpdated:
				n.peers.NetworkChanged()
				n.repunch.changed("")
			case event.EvtLocalProtocolsUpdated:
				handled(e.Added)
			}
		}
	}()
	return nil
}

// relayYield is how long the node with the larger ID waits for the other one to dial
// it through a relay. With a connection of each, either may ask for the punch on the
// one on which it is not answered.
const relayYield = 3 * time.Second

// awaitPunching comes before the dial of a peer that is behind a relay.
func (n *Node) awaitPunching(ctx context.Context, w *peerWait, addrs []ma.Multiaddr) {
	if !n.cfg.Reachability.HolePunching || len(addrs) == 0 || slices.ContainsFunc(addrs, func(a ma.Multiaddr) bool { return !p2phost.Relayed(a) }) {
		return
	}
	select {
	case <-n.punching.ready: // watchReach
	case <-ctx.Done():
		return
	}
	if n.id > w.p {
		ctx, cancel := context.WithTimeout(ctx, relayYield)
		defer cancel()
		_, _ = w.until(ctx, func() (*sessionPeer, error) { return w.e.session.Load(), nil }) // without one, it is dialled
	}
}

func (w *reachWatch) close() {
	w.most.Stop()
	_ = w.sub.Close() // it has no error to tell
	<-w.done
}

func (n *Node) reachability() (r ReachabilityStats) {
	r.State = "unknown"
	w := n.reach.Load()
	if w == nil {
		return r
	}
	switch network.Reachability(w.state.Load()) {
	case network.ReachabilityPublic:
		r.State = "public"
	case network.ReachabilityPrivate:
		r.State = "private"
	}
	listens := false
	for _, a := range n.host.Network().ListenAddresses() {
		listens = listens || manet.IsPublicAddr(a)
	}
	for _, a := range n.host.Addrs() {
		r.Addrs = append(r.Addrs, a.String())
		switch {
		case p2phost.Relayed(a):
			r.Relayed++
		case manet.IsPublicAddr(a):
			r.Public++
			if !listens {
				r.Mapped++
			}
		}
	}
	return r
}

// mayReserve lets session peers use this node as a relay. A peer asks as soon as it
// is connected, and leaves a relay alone for half a minute that refuses: so it waits
// for the handshake.
func (n *Node) mayReserve(p peer.ID) bool { return n.peerSet.member(p) }
