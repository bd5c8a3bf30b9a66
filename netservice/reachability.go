package netservice

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
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

// reachWatch follows what the host finds out.
type reachWatch struct {
	state atomic.Int32 // a network.Reachability
	sub   event.Subscription
	done  chan struct{}
}

// watchReach starts to follow; a changed address also has failed dials tried soon.
func (n *Node) watchReach() error {
	sub, err := n.host.EventBus().Subscribe([]any{new(event.EvtLocalReachabilityChanged), new(event.EvtLocalAddressesUpdated)},
		eventbus.BufSize(16), eventbus.Name("nebnet/reachability"))
	if err != nil {
		return err
	}
	w := &reachWatch{sub: sub, done: make(chan struct{})}
	n.reach.Store(w)
	go func() {
		defer close(w.done)
		for e := range sub.Out() { // ends with close
			switch e := e.(type) {
			case event.EvtLocalReachabilityChanged:
				w.state.Store(int32(e.Reachability))
			case event.EvtLocalAddressesUpdated:
				n.peers.NetworkChanged()
			}
		}
	}()
	return nil
}

func (w *reachWatch) close() {
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
		case relayed(a):
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

func relayed(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// mayReserve lets session peers use this node as a relay.
func (n *Node) mayReserve(p peer.ID) bool { return n.peerSet != nil && n.peerSet.has(p) }
