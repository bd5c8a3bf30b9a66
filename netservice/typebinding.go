package netservice

import (
	"context"
	"errors"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/session"
	"github.com/go-nebnet/nebnet/internal/swarm"
)

// typeBinding is what message types are bound to: the streams of the sessions,
// and gossip. The table of types tells it of every change.
type typeBinding struct {
	session *session.Engine
	gossip  *gossip.Engine
	swarm   *swarm.Engine
	most    int // bound of broadcasts of types that may have large ones
	judge   func(ctx context.Context, s *typeState, m gossip.Message) gossip.Verdict
}

// set makes a type known to both engines, or gives it new properties.
func (b *typeBinding) set(s *typeState) error {
	if err := b.session.Set(s.spec, s.subscribers > 0 && !s.asked.NoDirect); err != nil {
		return sessionError("", err)
	}
	t := b.topic(s)
	// Before peers hear that this node takes part: what is large goes another way.
	if err := b.setLarge(s, t.MaxSize); err != nil {
		return err
	}
	return broadcastError(b.setTopic(t, s.subscribers > 0))
}

// topic is how broadcasts of a type go. A maximum of 0 stands for not at all.
func (b *typeBinding) topic(s *typeState) gossip.Topic {
	g := s.spec.Broadcast
	t := gossip.Topic{
		Type: s.spec.Name, Name: g.Topic, Open: g.Open, Timed: g.Timed, TrustOwn: true, Deadline: g.Deadline,
		Concurrency: g.Concurrency, ParkTime: g.ParkTime, ExplicitRelay: g.ExplicitRelay, FormTimeout: g.PeerWait,
		Score: gossip.TopicScore(g.Score),
	}
	if s.validator != nil {
		t.Validate = func(ctx context.Context, m gossip.Message) gossip.Verdict { return b.judge(ctx, s, m) }
	}
	if s.spec.NoBroadcast {
		return t
	}
	t.MaxSize = min(s.spec.MaxSize, gossip.DefaultMaxMessageSize)
	if s.sized() && !g.Open {
		t.MaxSize = min(s.spec.MaxSize, b.most)
	}
	if t.MaxPublish = t.MaxSize; g.Open && !s.sized() {
		t.MaxPublish = min(t.MaxSize, gossip.FrameOfOthers)
	}
	return t
}

// setTopic declares a topic, changes it, or takes it away.
func (b *typeBinding) setTopic(t gossip.Topic, join bool) error {
	if t.MaxSize == 0 {
		// It may have been there by its first use, before it was declared.
		if err := b.gossip.Retract(t.Type); !errors.Is(err, gossip.ErrNotDeclared) {
			return err
		}
		return nil
	}
	err := b.gossip.Change(t)
	if errors.Is(err, gossip.ErrNotDeclared) {
		err = b.gossip.Declare(t)
	}
	switch {
	case err != nil:
		return err
	case join:
		return b.gossip.Join(t.Type)
	}
	return b.gossip.Leave(t.Type)
}

// gossiped is a message that came by gossip, with what is needed to relay it.
type gossiped struct {
	*dispatcher.BasicMessage
	origin gossip.Message
}

// Basic tells the duplicate filter that the message is the same one as a copy
// that came on a stream. One that is signed is not: whoever sent its content first,
// unsigned or with a signature of its own, must not make it a duplicate.
func (m *gossiped) Basic() *dispatcher.BasicMessage {
	if m.origin.Author != "" {
		return nil
	}
	return m.BasicMessage
}

// Hash names the message by type and content, and by who signed it.
func (m *gossiped) Hash() string {
	if m.origin.Author == "" {
		return m.BasicMessage.Hash()
	}
	return m.BasicMessage.Hash() + "/" + string(m.origin.Author)
}

// Author is who signed the message, empty in networks without signatures.
func (m *gossiped) Author() string {
	if m.origin.Author == "" {
		return ""
	}
	return m.origin.Author.String()
}
