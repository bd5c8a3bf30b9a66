package netservice

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// A type has one judgement, whichever way a message comes: its validator. What
// gossip brings is judged in gossip's own goroutines, before it is passed on; what
// a peer sends directly here, before it is delivered; and what Relay is about to
// spread, if gossip has not judged it.

// timed is a validator whose time is measured, whoever asks it.
func (n *Node) timed(msgType string, v Validator) Validator {
	if v == nil || dispatcher.ValidType(msgType) != nil {
		return v
	}
	took := n.obs.Histogram(obs.Validation + "." + msgType)
	return func(ctx context.Context, m dispatcher.Message) Verdict {
		began := time.Now()
		verdict := v(ctx, m)
		took.Update(time.Since(began).Microseconds())
		return verdict
	}
}

// accepts asks the validator of a type, if it has one, about a message that did not
// come by gossip.
func (n *Node) accepts(ctx context.Context, s *typeState, m dispatcher.Message) (v Verdict) {
	if s == nil || s.validator == nil {
		return Accept()
	}
	ctx, cancel := context.WithTimeout(ctx, s.spec.Broadcast.Deadline)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			n.panicked("validator", p, nil)
			v = Ignore()
		}
	}()
	obs.Callback(func() { v = s.validator(ctx, m) })
	return v
}

// judgeDirect keeps of a batch that a peer sent directly what the type's validator
// accepts. What it defers is dropped too: the peer can send it again.
func (n *Node) judgeDirect(ctx context.Context, from peer.ID, msgType string, batch []dispatcher.Message) []dispatcher.Message {
	s := n.types.lookup(msgType)
	if s == nil || s.validator == nil {
		return batch
	}
	return slices.DeleteFunc(batch, func(m dispatcher.Message) bool {
		v := n.accepts(ctx, s, m)
		if t := n.tracer.Load(); t != nil {
			t.ofMessage(msgType, m.Data(), TraceStep{What: TraceValidated, Detail: v.String()})
		}
		switch v {
		case Accept():
			return false
		case Reject():
			n.peers.Penalise(from, penaltyRejected)
		}
		n.obs.ByType(obs.DirectRefused, msgType).Inc(1)
		return true
	})
}

// judgeRelay refuses to spread what a validator of this node does not accept: its
// neighbours would hold that against this node.
func (n *Node) judgeRelay(ctx context.Context, m dispatcher.Message) error {
	if n.accepts(ctx, n.types.lookup(m.MessageType()), m) != Accept() {
		return fmt.Errorf("%w: %s", ErrRejected, m.MessageType())
	}
	return nil
}
