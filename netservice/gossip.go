package netservice

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/session"
	"github.com/go-nebnet/nebnet/internal/swarm"
)

// MessageID names a message in raw bytes. from and seqno are empty in networks
// without signatures.
type MessageID func(topic string, data []byte, from peer.ID, seqno []byte) string

func (n *Node) gossipConfig() gossip.Config {
	cfg := gossip.Config{
		Host: onSessions{n.host, n}, Network: n.network, Obs: n.obs, Rand: n.opts.random.For("gossip"),
		Deliver: n.deliverGossip,
		Member:  n.peerSet.has,
		Heard: func(p peer.ID) {
			if k := n.peerSet.get(p); k != nil {
				k.session.Heard()
			}
		},
		Pace:         n.paceGossip,
		MessageID:    n.opts.messageID,
		Recommended:  n.exchange.Recommended,
		Most:         n.mostOf,
		Unvalidated:  n.unjudged,
		Large:        largeCarrier{n},
		MaxLargeSize: maxLarge(n.cfg.MaxMessageSize),
		Params:       gossip.Params(gossipProfiles[n.cfg.GossipProfile]()),
	}
	if n.opts.gossip != nil {
		cfg.Params = gossip.Params(*n.opts.gossip)
	}
	if n.cfg.SignMessages {
		cfg.Identity = gossip.Signed
	}
	cfg.OnScore = func(scores map[peer.ID]gossip.Score) {
		n.scores.Store(&scores)
		n.punish(scores, cfg.Params.GraylistThreshold)
	}
	return cfg
}

// newGossip makes the engine, which tells the tracer if there is one.
func (n *Node) newGossip() error {
	e, err := gossip.New(n.gossipConfig())
	if err != nil {
		return err
	}
	n.tracing.Lock()
	defer n.tracing.Unlock()
	n.gossip = e
	n.bindTracerLocked()
	return nil
}

// unjudged tells of a peer that it passes messages of a type on that it has not judged,
// nor their headers, by the rules of this node. One that has said nothing of the type
// should have: it is none of those that take part in it.
func (n *Node) unjudged(p peer.ID, typ string) bool {
	s, k := n.types.lookup(typ), n.peerSet.get(p)
	if s == nil || k == nil {
		return false
	}
	o, _, _ := k.session.Offered(session.KindMessage, typ)
	large, _, _ := k.session.Offered(session.KindLarge, typ)
	return o.Kind == session.KindMessage && o.Rules != s.rules() ||
		large.Kind == session.KindLarge && large.Rules != s.headerRules()
}

// punish holds it against session peers that gossip has given up on them. What they have
// merely passed on is not part of that: they keep their sessions, and lose in value.
func (n *Node) punish(scores map[peer.ID]gossip.Score, graylist float64) {
	for p, s := range scores {
		if s.Value < graylist && n.peerSet.has(p) {
			n.peers.Penalise(p, penaltyGraylisted)
		}
	}
}

// deliverGossip hands a validated message to the dispatcher. An error means
// that the message was not taken, and may come again.
func (n *Node) deliverGossip(ctx context.Context, m gossip.Message, wait bool) error {
	msg := n.gossiped(m)
	var err error
	if wait {
		err = n.dispatch.PutMessageContext(ctx, msg)
	} else {
		err = n.dispatch.TryPutMessage(msg)
	}
	if errors.Is(err, dispatcher.ErrQueueFull) {
		return gossip.ErrFull
	}
	return err
}

func (n *Node) gossiped(m gossip.Message) *gossiped {
	name := ""
	if k := n.peerSet.get(m.From); k != nil {
		name = k.name
	} else {
		name = m.From.String()
	}
	return &gossiped{BasicMessage: dispatcher.NewMessage(m.Type, name, m.Data), origin: m}
}

// judge asks the type's validator about a message.
func (n *Node) judge(ctx context.Context, s *typeState, m gossip.Message) gossip.Verdict {
	v := s.validator(ctx, n.gossiped(m))
	if v == Accept() {
		n.useful(m.From, m.Type)
	}
	return v.as
}

// broadcast publishes a message of our own.
func (n *Node) broadcast(ctx context.Context, msgType string, data []byte) error {
	return broadcastError(n.publish(ctx, msgType, data))
}

func (n *Node) publish(ctx context.Context, msgType string, data []byte) error {
	s, err := n.types.use(msgType)
	if err != nil {
		return err
	}
	if s.spec.NoBroadcast {
		return fmt.Errorf("%w: %s", ErrNoBroadcast, msgType)
	}
	err = n.gossip.Publish(ctx, msgType, data)
	if errors.Is(err, gossip.ErrNotDeclared) {
		// Just now its declaration is replaced by another one.
		n.types.awaitReplaced()
		err = n.gossip.Publish(ctx, msgType, data)
	}
	return err
}

// relay passes a message on that may have come by gossip or on a stream.
func (n *Node) relay(ctx context.Context, m dispatcher.Message) error {
	g, ok := m.(*gossiped)
	var err error
	if ok {
		err = n.gossip.Relay(ctx, g.origin)
	}
	if !ok || errors.Is(err, gossip.ErrNotDeclared) { // the topic of then is gone
		if err = n.judgeRelay(ctx, m); err == nil {
			err = n.publish(ctx, m.MessageType(), m.Data())
		}
	}
	if errors.Is(err, gossip.ErrDuplicate) {
		return nil // the network has it
	}
	return broadcastError(err)
}

// broadcastError gives errors of the engines that broadcast the names of this package.
func broadcastError(err error) error {
	for _, same := range []struct{ theirs, ours error }{
		{gossip.ErrTooLarge, ErrTooLarge},
		{gossip.ErrClosed, ErrStopped},
		{gossip.ErrNotStarted, ErrNotStarted},
		{gossip.ErrNoPeers, ErrNoPeers},
		{gossip.ErrTopicTaken, ErrConflict},
		{swarm.ErrTooLarge, ErrTooLarge},
		{swarm.ErrClosed, ErrStopped},
		{swarm.ErrFull, ErrQueueFull},
		{swarm.ErrHeader, ErrHeader},
	} {
		if errors.Is(err, same.theirs) {
			return also(err, same.ours)
		}
	}
	return err
}
