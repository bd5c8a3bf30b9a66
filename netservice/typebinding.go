package netservice

import (
	"context"

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
	judge   func(ctx context.Context, s *typeState, m gossip.Message) gossip.Verdict
}

// set makes a type known to the engines, or gives it new properties.
func (b *typeBinding) set(s *typeState) error {
	told := s.spec
	told.Broadcast.Rules = s.rules()
	if err := b.session.Set(told, s.subscribers > 0 && !s.asked.NoDirect); err != nil {
		return sessionError("", err)
	}
	// Before peers hear that this node takes part: what is large goes another way.
	if err := b.setLarge(s); err != nil {
		return err
	}
	var validate gossip.Validator
	if s.validator != nil {
		validate = func(ctx context.Context, m gossip.Message) gossip.Verdict { return b.judge(ctx, s, m) }
	}
	return broadcastError(b.gossip.Set(s.spec, s.subscribers > 0, validate))
}

// rules are those by which this node judges messages of the type before it passes them
// on, 0 where it does not.
func (s *typeState) rules() uint32 {
	if s.validator == nil {
		return 0
	}
	return s.spec.Broadcast.Rules
}

// headerRules are those by which it judges the headers of large ones.
func (s *typeState) headerRules() uint32 {
	if s.largeHeaders().Check == nil {
		return 0
	}
	return s.spec.Broadcast.Rules
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
