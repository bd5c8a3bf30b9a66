package gossip

import (
	"errors"
	"slices"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Bounds of what one peer may send in one heartbeat, or in one frame. The
// router has bounds of its own; these close what it leaves open.
const (
	maxControl = 1000   // grafts, and prunes, in one frame
	maxWant    = 20_000 // message IDs asked for in one heartbeat; routers ask for 5,000
	maxHave    = 40_000 // message IDs announced in one heartbeat
	maxAsk     = 1000   // turned-away messages of a type asked for at once
)

// Faults that lower a peer's score.
const (
	faultSubscriptions = "subscriptions"
	faultControl       = "control"
	faultWant          = "want"
	faultHave          = "have"
)

var errFrame = errors.New("gossip: frame refused")

// inspect sees each frame before the router does, in the router's loop, and may
// change it.
func (l *lane) inspect(p peer.ID, rpc *pubsub.RPC) error {
	if len(rpc.Publish) > 0 {
		l.inspectMessages(p, rpc)
	}
	c := rpc.Control
	if c == nil {
		return nil
	}
	if len(c.Graft) > maxControl || len(c.Prune) > maxControl {
		l.e.fault(p, faultControl)
		return errFrame
	}
	longest := uint64(l.e.cfg.Params.MaxBackoff / time.Second)
	for _, prune := range c.Prune {
		// The router multiplies what it reads here, and keeps it.
		if b := prune.GetBackoff(); b > longest {
			prune.Backoff = &longest
		}
		prune.Peers = nil
	}
	if len(c.Graft) > 0 {
		l.tracker.postpone(p, rpc)
	}
	l.spend(p, c)
	if len(c.Ihave) > 0 {
		l.askAgain(p, c.Ihave)
	}
	return nil
}

// inspectMessages takes out what the router must not see.
func (l *lane) inspectMessages(p peer.ID, rpc *pubsub.RPC) {
	foreigner := l.e.openTopics.Load() > 0 && !l.e.members.isMember(p)
	signed, switching := l.e.cfg.Identity == Signed, l.switching.Load() > 0
	if !foreigner && !signed && !switching {
		return
	}
	rpc.Publish = slices.DeleteFunc(rpc.Publish, func(m *pb.Message) bool {
		t := l.e.byName(m.GetTopic())
		switch {
		case t == nil:
			return false
		case foreigner && !t.Open:
			// The router asks nobody whether a message may come from this peer.
			t.n.rejected.Inc(1)
			return true
		case signed && peer.ID(m.GetFrom()) == l.e.cfg.Host.ID():
			// An own message that comes back. The router takes it for an attack
			// if it does not know it any more, as after a restart.
			t.n.duplicates.Inc(1)
			return true
		case switching && t.switching.Load():
			t.miss(&pubsub.Message{Message: m, ID: t.id()(m), ReceivedFrom: p})
			return true
		}
		return false
	})
}

// miss notes a message that was dropped before the router had seen it. It is
// asked for again.
func (t *topic) miss(m *pubsub.Message) {
	t.n.unvalidated.Inc(1)
	id := m.ID
	if id == "" {
		id = t.id()(m.Message)
	}
	t.missed.add(id, noSum(), now(), m.ReceivedFrom)
}

// spend cuts the lists of IDs to what the peer has left of its budget.
func (l *lane) spend(p peer.ID, c *pb.ControlMessage) {
	have, want := 0, 0
	for _, h := range c.Ihave {
		have += len(h.GetMessageIDs())
	}
	for _, w := range c.Iwant {
		want += len(w.GetMessageIDs())
	}
	if have == 0 && want == 0 {
		return
	}
	okHave, okWant := l.budget.spend(p, have, want, now(), l.e.cfg.Params.Heartbeat)
	if !okHave {
		c.Ihave = nil
		l.e.fault(p, faultHave)
	}
	if !okWant {
		c.Iwant = nil
		l.e.fault(p, faultWant)
	}
}

// askAgain asks for turned-away messages that a peer announces. The router has
// seen them and would not.
func (l *lane) askAgain(p peer.ID, haves []*pb.ControlIHave) {
	var want []string
	for _, h := range haves {
		t := l.e.byName(h.GetTopicID())
		if t == nil || !l.e.members.allows(p, t) {
			continue
		}
		// What was missed, the router asks for itself.
		t.missed.announced(p, h.GetMessageIDs())
		if !t.away.announced(p, h.GetMessageIDs()) || t.room() <= 0 {
			continue
		}
		want = append(want, t.away.ask(h.GetMessageIDs(), maxAsk-len(want), now())...)
	}
	if len(want) > 0 {
		l.rt.SendControl(p, &pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: want}}})
	}
}

// budget counts message IDs per peer and heartbeat. It is the loop's.
type budget struct {
	since time.Time
	peers map[peer.ID]spent
}

type spent struct{ have, want int }

func newBudget() *budget { return &budget{peers: make(map[peer.ID]spent)} }

// spend takes from a peer's budget, and reports for each kind whether it
// sufficed.
func (b *budget) spend(p peer.ID, have, want int, now time.Time, heartbeat time.Duration) (okHave, okWant bool) {
	if now.Sub(b.since) >= heartbeat {
		b.since = now
		clear(b.peers)
	}
	s := b.peers[p]
	s.have += have
	s.want += want
	b.peers[p] = s
	return s.have <= maxHave, s.want <= maxWant
}

// subscriptions is the router's subscription filter: of what peers subscribe to,
// declared topics are kept, and of members a few others, which may be declared
// later: a peer says only once what it takes part in.
type subscriptions struct{ l *lane }

// CanSubscribe reports whether the topic is declared, in this lane.
func (s subscriptions) CanSubscribe(name string) bool {
	t := s.l.e.byName(name)
	return t != nil && t.in(s.l)
}

// FilterIncomingSubscriptions keeps what concerns declared topics that the peer
// may take part in, and a bounded number of others of a member.
func (s subscriptions) FilterIncomingSubscriptions(p peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if len(subs) > manySubs {
		s.l.e.fault(p, faultSubscriptions)
		return nil, pubsub.ErrTooManySubscriptions
	}
	kept := make([]*pb.RPC_SubOpts, 0, len(subs))
	for _, sub := range subs {
		if s.keeps(p, sub) {
			kept = append(kept, sub)
		}
	}
	return pubsub.FilterSubscriptions(kept, func(string) bool { return true }), nil
}

func (s subscriptions) keeps(p peer.ID, sub *pb.RPC_SubOpts) bool {
	name := sub.GetTopicid()
	if t := s.l.e.byName(name); t != nil {
		return t.in(s.l) && s.l.e.members.allows(p, t)
	}
	return len(name) <= maxTopicName && s.l.e.members.isMember(p) && s.l.tracker.hear(p, name, sub.GetSubscribe())
}
