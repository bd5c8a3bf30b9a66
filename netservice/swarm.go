package netservice

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/session"
	"github.com/go-nebnet/nebnet/internal/swarm"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// Large broadcasts are carried by package swarm, and judged, counted and known by
// package gossip, whichever way they come. This file joins the two, and tells swarm who
// takes what: that is in the offers of the sessions.

// maxLarge bounds broadcasts of types whose declaration sets a size above 1 MiB, where
// maxSize is Config.MaxMessageSize.
func maxLarge(maxSize int) int {
	return min(max(maxSize, gossip.DefaultMaxLargeSize), wire.MaxSize-msgtype.BroadcastOverhead)
}

func (n *Node) swarmConfig() swarm.Config {
	cfg := swarm.Config{
		Host: n.host, Network: n.network, Obs: n.obs, Budgets: n.budgets, Rand: n.opts.random.For("swarm"),
		Takes: n.takesLarge,
		Deliver: func(w swarm.Whole) {
			n.gossip.TakeLarge(w.From, w.Type, w.Data, w.Ref, w.Cut)
		},
		Invalid:  n.invalidLarge,
		Heeds:    func(p peer.ID, typ string) bool { return n.gossip.Heeds(p, typ) },
		Report:   n.reportLarge,
		Progress: n.largeProgress(),
		Memory:   max(swarm.DefaultMemory, 4*(maxLarge(n.cfg.MaxMessageSize)+msgtype.BroadcastOverhead)),
	}
	return cfg
}

// takesLarge tells what a peer with a session takes.
func (n *Node) takesLarge(p peer.ID) (types map[string]int, member bool) {
	k := n.peerSet.get(p)
	if k == nil {
		return nil, false
	}
	return k.session.OfferedOf(session.KindLarge), true
}

// offered hears that a peer takes something else now.
func (n *Node) offered(p peer.ID, kind session.Kind, name string) {
	switch kind {
	case session.KindLarge:
		if k := n.peerSet.get(p); k != nil { // else all of it is asked for with the session
			o, _, ok := k.session.Offered(kind, name)
			if !ok {
				o.MaxSize = 0
			}
			n.swarm.OfferChanged(p, name, o.MaxSize)
		}
		n.gossip.OfferChanged(p, name)
	case session.KindMessage:
		n.gossip.OfferChanged(p, name)
	}
}

// mostOf is how large the broadcasts of a type may be that a peer takes, 0 where it has
// not said. Of large ones it has said more than of messages on a stream: how it has
// declared the type, and Config.MaxMessageSize, bound them in another way.
func (n *Node) mostOf(p peer.ID, typ string) int {
	k := n.peerSet.get(p)
	if k == nil {
		return 0
	}
	if o, _, ok := k.session.Offered(session.KindLarge, typ); ok {
		return o.MaxSize - msgtype.BroadcastOverhead
	}
	o, _, _ := k.session.Offered(session.KindMessage, typ)
	return o.MaxSize
}

// largeCarrier is swarm as gossip sees it.
type largeCarrier struct{ n *Node }

func (c largeCarrier) Takes(p peer.ID, typ string, size int) bool {
	k := c.n.peerSet.get(p)
	if k == nil {
		return false
	}
	o, _, ok := k.session.Offered(session.KindLarge, typ)
	return ok && size <= o.MaxSize
}

func (c largeCarrier) Prepare(typ string, frame, own []byte) (any, error) {
	return c.n.swarm.Prepare(typ, frame, own)
}

func (c largeCarrier) Spread(ref any) bool {
	return !errors.Is(c.n.swarm.Spread(ref.(*swarm.Ref)), swarm.ErrFull)
}

func (c largeCarrier) Ended(ref any, fate gossip.LargeFate) {
	v := sched.Known
	switch fate {
	case gossip.LargeRejected:
		v = sched.Reject
	case gossip.LargeAwaitsRelay:
		v = sched.AwaitRelay
	case gossip.LargeLater:
		v = sched.Later
	}
	c.n.swarm.Validated(ref.(*swarm.Ref), v)
}

// What peers do wrong in large broadcasts, of the hundred points of a ban.
func (n *Node) reportLarge(p peer.ID, typ, fault string, ban bool) {
	weight := 5.0
	switch {
	case ban:
		weight = 100
	case fault == sched.FaultRefused.String():
		if n.unjudged(p, typ) {
			n.gossip.InvalidLarge(p, typ)
			return
		}
		weight = penaltyRejected
	case fault == sched.FaultFrame.String():
		weight = 34
	}
	n.peers.Report(p, "large broadcasts: "+fault, weight)
}

// setLarge tells swarm and the peers of a type.
func (b *typeBinding) setLarge(s *typeState) error {
	name, g := s.spec.Name, s.spec.Broadcast
	size := g.MaxSize + msgtype.BroadcastOverhead
	large := !s.spec.NoBroadcast && !g.Open && size > gossip.LargeFrame
	receive := large && s.subscribers > 0
	if !large {
		b.swarm.Remove(name)
	} else if err := b.swarm.Set(s.spec, receive, s.largeHeaders()); err != nil {
		return broadcastError(err)
	}
	if !receive {
		b.session.Withdraw(session.KindLarge, name)
		return nil
	}
	_, err := b.session.Offer(session.Offer{Kind: session.KindLarge, Name: name, MaxSize: size, Properties: session.Taken, Rules: s.headerRules()})
	if err != nil {
		return sessionError("", err)
	}
	return nil
}
