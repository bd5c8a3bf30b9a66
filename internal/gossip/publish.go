package gossip

import (
	"context"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// Publish broadcasts data to the type's topic; the type need not be joined. While the
// queue of a peer that is to have it is full, it waits until ctx ends, which gives
// ErrQueueFull and the context's error. Nil means that the queues of all peers that
// are to have it now have taken the message, those apart that read several times as
// slowly as others, or that it waits for the first peer (up to Broadcast.PeerWait).
// data is not kept, and not validated.
//
// Errors: ErrClosed, ErrNotStarted, ErrNotDeclared, ErrTooLarge, ErrDuplicate,
// ErrNoPeers, ErrQueueFull, and the context's.
func (e *Engine) Publish(ctx context.Context, typ string, data []byte) error {
	t, err := e.begin(typ)
	if err != nil {
		return err
	}
	defer e.calls.leave()
	if most := t.set().MaxPublish; len(data) > most {
		return fmt.Errorf("%w: %d bytes of type %s exceed MaxSize, %d", ErrTooLarge, len(data), typ, most)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish %s: %w", typ, err)
	}
	m, err := e.compose(t, data)
	if err != nil {
		return err
	}
	return e.publish(ctx, t, m)
}

// begin finds a type for a call that uses the network. Unless it fails, calls.leave
// must follow.
func (e *Engine) begin(typ string) (t *topic, err error) {
	if !e.calls.enter() {
		return nil, ErrClosed
	}
	if !e.started.Load() {
		err = ErrNotStarted
	} else if t = e.byType(typ); t == nil {
		err = fmt.Errorf("%w: %q", ErrNotDeclared, typ)
	}
	if err != nil {
		e.calls.leave()
		return nil, err
	}
	return t, nil
}

// compose makes a message of this node's own.
func (e *Engine) compose(t *topic, data []byte) (*router.Message, error) {
	own := data
	if _, _, looks := openStamp(data); t.Timed || t.stamps && looks {
		data = putStamp(now(), data)
	}
	if data == nil {
		data = []byte{}
	}
	in := rpc.Message{Data: data, Topic: t.wire}
	if e.author != nil {
		if err := e.author.sign(&in); err != nil {
			return nil, fmt.Errorf("publish %s: %w", t.Type, err)
		}
	}
	var id [64]byte
	m := e.encode(t, &in, "", string(e.idOf(id[:0], t, &in)))
	if m.Carried {
		var err error
		if m.Ref, err = e.cfg.Large.Prepare(t.Type, m.Frame, own); err != nil {
			return nil, fmt.Errorf("publish %s: %w", t.Type, err)
		}
	}
	return m, nil
}

// encode gives a message the form in which it goes on.
func (e *Engine) encode(t *topic, in *rpc.Message, from peer.ID, id string) *router.Message {
	frame, own := rpc.Encode(in)
	m := &router.Message{
		ID: id, Topic: t.Name, From: from, Frame: frame, Data: own.Data, Carried: e.carried(t, frame),
	}
	e.signedBy(m, &own)
	return m
}

// signedBy notes who has signed a message, and what is needed to verify that of one
// that a peer has sent.
func (e *Engine) signedBy(m *router.Message, wire *rpc.Message) {
	switch {
	case e.author == nil:
	case m.From == "":
		m.Author = e.author.id
	default:
		kept := *wire
		m.Author, m.Wire = e.keys.author(wire), &kept
	}
}

func (e *Engine) publish(ctx context.Context, t *topic, m *router.Message) error {
	if err := e.admitLocked(ctx, t, ""); err != nil {
		return err
	}
	var out outcome
	e.stepLocked(router.Event{Kind: router.Publish, Msg: m}, &out)
	lost := out.handed == 0 && out.full+out.short > 0
	if lost {
		e.stepLocked(router.Event{Kind: router.Withdraw, Msg: m}, &out)
	}
	unspread := e.unlock()
	if lost {
		return noneTook(t, &out)
	}
	if slices.Contains(unspread, m) {
		e.step(router.Event{Kind: router.Withdraw, Msg: m})
		return fmt.Errorf("%w: so many large messages of this node are being fetched", ErrQueueFull)
	}
	switch out.refused {
	case "":
		return nil
	case router.ReasonDuplicate:
		return fmt.Errorf("%w: a message of %s with this content, within %s", ErrDuplicate, t.Type, e.cfg.SeenTTL)
	case router.ReasonNoPeers:
		return fmt.Errorf("%w: %s", ErrNoPeers, t.Type)
	case router.ReasonFull:
		return fmt.Errorf("%w: no peers of %s yet", ErrQueueFull, t.Type)
	case router.ReasonTooLarge:
		return fmt.Errorf("%w: %d bytes of %s, more than any of its peers takes", ErrTooLarge, len(m.Data), t.Type)
	}
	return fmt.Errorf("%w: %q", ErrNotDeclared, t.Type)
}

// noneTook is why no peer has taken a message. That some queues are full may pass; what
// is too large for all of them stays so.
func noneTook(t *topic, out *outcome) error {
	if out.full > 0 {
		return fmt.Errorf("%w: %d peers of %s", ErrQueueFull, out.full, t.Type)
	}
	return fmt.Errorf("%w: %d peers of %s take no chunks, and GossipSub does not carry it", ErrTooLarge, out.short, t.Type)
}

// Relay forwards a message of a type declared ExplicitRelay; a second Relay of
// the same delivery does nothing, nor does one of another type's, which went on
// when it was delivered. A message that did not come from Deliver is
// published as this node's own. Nil also if nobody is left to be told.
// Errors: ErrClosed, ErrNotStarted, ErrNotDeclared, ErrQueueFull, and those of
// Publish.
func (e *Engine) Relay(ctx context.Context, m Message) error {
	if m.raw == nil {
		return e.Publish(ctx, m.Type, m.Data)
	}
	t, err := e.begin(m.Type)
	if err != nil {
		return err
	}
	defer e.calls.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !t.set().ExplicitRelay {
		return nil
	}
	if err := e.admitLocked(ctx, t, m.From); err != nil {
		return err
	}
	var out outcome
	e.stepLocked(router.Event{Kind: router.Relay, Msg: m.raw}, &out)
	e.unlock()
	if out.handed == 0 && out.full+out.short > 0 {
		// To those that are full it is announced a little later; nothing is lost.
		return noneTook(t, &out)
	}
	return nil
}
