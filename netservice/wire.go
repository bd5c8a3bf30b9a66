package netservice

import (
	"context"
	"errors"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/session"
)

// wire is a message type on its two ways to the peers: the streams of the
// sessions, and gossip. The table of types tells it of every change.
type wire struct {
	session *session.Engine
	gossip  *gossip.Engine
	maxBulk int                         // bound of broadcasts of bulk types
	specs   map[string]session.TypeSpec // as declared to session; the table's
	judge   func(ctx context.Context, s *typeState, m gossip.Message) Verdict
}

// declare makes a type known to both engines, or gives it new properties.
func (w *wire) declare(s *typeState) error {
	if err := w.declareStreams(s); err != nil {
		return err
	}
	if s.spec.NoBroadcast {
		// It may have been broadcast by its first use, before this declaration.
		if err := w.gossip.Retract(s.spec.Name); !errors.Is(err, gossip.ErrNotDeclared) {
			return gossipError(err)
		}
		return nil
	}
	g := s.spec.Gossip
	in, out := s.gossipSize(w.maxBulk)
	topic := gossip.Topic{
		Type: s.spec.Name, Name: g.Topic, Open: g.Open, Bulk: s.bulk(), MaxSize: in, MaxPublish: out, Timed: g.Timed,
		TrustOwn: true, Deadline: g.Deadline, Concurrency: g.Concurrency, ParkTime: g.ParkTime,
		ExplicitRelay: g.ExplicitRelay, FormTimeout: g.PeerWait, Score: g.Score,
	}
	if g.WaitWhenFull {
		topic.OnFull = gossip.WaitWhenFull
	}
	if s.validator != nil {
		topic.Validate = func(ctx context.Context, m gossip.Message) Verdict { return w.judge(ctx, s, m) }
	}
	err := w.gossip.Change(topic)
	if errors.Is(err, gossip.ErrNotDeclared) {
		err = w.gossip.Declare(topic)
	}
	return gossipError(err)
}

// declareStreams leaves the streams alone when nothing changes that concerns
// them: retracting a type loses what is under way.
func (w *wire) declareStreams(s *typeState) error {
	name := s.spec.Name
	spec := session.TypeSpec{
		Name: name, MaxSize: s.spec.MaxSize, Priority: s.spec.Priority,
		Compress: s.spec.Compression, QueueBytes: s.spec.QueueBytes, SendOnly: true,
	}
	if was, ok := w.specs[name]; ok && was == spec {
		return nil
	}
	w.session.Retract(name)
	delete(w.specs, name)
	if err := w.session.Declare(spec); err != nil {
		return sessionError(err)
	}
	w.specs[name] = spec
	return nil
}

// accept lets peers send a type to this node.
func (w *wire) accept(s *typeState) error {
	if err := w.session.Accept(s.spec.Name); err != nil || s.spec.NoBroadcast {
		return err
	}
	return gossipError(w.gossip.Join(s.spec.Name))
}

// refuse undoes accept.
func (w *wire) refuse(name string) {
	w.session.Refuse(name)
	// It can fail only when the type is not broadcast or the engine closed.
	_ = w.gossip.Leave(name)
}

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
