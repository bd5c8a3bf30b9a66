package netservice

import (
	"context"
	"errors"
	"strings"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/session"
)

// typeBinding is what message types are bound to: the streams of the sessions,
// and gossip. The table of types tells it of every change.
type typeBinding struct {
	session *session.Engine
	gossip  *gossip.Engine
	maxBulk int // bound of broadcasts of types that may have large ones
	judge   func(ctx context.Context, s *typeState, m gossip.Message) gossip.Verdict
}

// set makes a type known to both engines, or gives it new properties.
func (b *typeBinding) set(s *typeState) error {
	if err := b.session.Set(s.spec, s.subscribers > 0); err != nil {
		return sessionError(err)
	}
	for _, topic := range b.topics(s) {
		if err := b.setTopic(topic, s.subscribers > 0); err != nil {
			return gossipError(err)
		}
	}
	return nil
}

// largeTopic is what the engine of broadcasts knows the large messages of a type
// by: it ends with this. Which way a message goes depends on its size alone, as
// two nodes may have declared the type differently.
const largeTopic = "/large"

// topics are the ways in which broadcasts of a type go. A maximum of 0 stands for
// none.
func (b *typeBinding) topics(s *typeState) []gossip.Topic {
	g := s.spec.Broadcast
	t := gossip.Topic{
		Type: s.spec.Name, Name: g.Topic, Open: g.Open, Timed: g.Timed, TrustOwn: true, Deadline: g.Deadline,
		Concurrency: g.Concurrency, ParkTime: g.ParkTime, ExplicitRelay: g.ExplicitRelay, FormTimeout: g.PeerWait,
		Score: gossip.TopicScore(g.Score),
	}
	if g.WaitWhenFull {
		t.OnFull = gossip.WaitWhenFull
	}
	if s.validator != nil {
		t.Validate = func(ctx context.Context, m gossip.Message) gossip.Verdict { return b.judge(ctx, s, m) }
	}
	large := t
	large.Type, large.Bulk = s.spec.Name+largeTopic, true
	if g.Topic != "" {
		large.Name += largeTopic
	}
	if !s.spec.NoBroadcast {
		t.MaxSize = min(s.spec.MaxSize, gossip.DefaultMaxMessageSize)
		if t.MaxPublish = t.MaxSize; g.Open && !s.sized() {
			t.MaxPublish = min(t.MaxSize, gossip.FrameOfOthers)
		}
		if s.sized() && s.spec.MaxSize > t.MaxSize && !g.Open {
			large.MaxSize = min(s.spec.MaxSize, b.maxBulk)
		}
	}
	return []gossip.Topic{t, large}
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

// topicFor is the topic by which a message of a type and size is broadcast.
func topicFor(s *typeState, size int) string {
	if s.sized() && size > gossip.DefaultMaxMessageSize && s.spec.MaxSize > gossip.DefaultMaxMessageSize && !s.spec.Broadcast.Open {
		return s.spec.Name + largeTopic
	}
	return s.spec.Name
}

// typeOf is the message type that a topic belongs to.
func typeOf(topic string) string { return strings.TrimSuffix(topic, largeTopic) }

// gossiped is a message that came by gossip, with what is needed to relay it.
type gossiped struct {
	*dispatcher.BasicMessage
	origin gossip.Message
}

// Basic tells the duplicate filter that the message is the same one as a copy
// that came on a stream.
func (m *gossiped) Basic() *dispatcher.BasicMessage { return m.BasicMessage }

// Author is who signed the message, empty in networks without signatures.
func (m *gossiped) Author() string {
	if m.origin.Author == "" {
		return ""
	}
	return m.origin.Author.String()
}
