package gossip

import (
	"context"
	"errors"
	"fmt"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// publication is an own message on its way through the router.
type publication struct {
	msg *pubsub.Message // set once the router has accepted it as new
}

// Publish broadcasts data to the type's topic; the type need not be joined. Nil
// means that at least one peer's queue has taken the message, or that it waits
// for the first peer (up to Config.FormTimeout). data belongs to the engine from
// then on and may not be changed.
//
// Errors: ErrClosed, ErrNotStarted, ErrNotDeclared, ErrTooLarge, ErrRefused,
// ErrDuplicate, ErrNoPeers, ErrQueueFull, and the context's.
func (e *Engine) Publish(ctx context.Context, typ string, data []byte) error {
	t, done, err := e.begin(typ)
	if err != nil {
		return err
	}
	defer done()
	if len(data) > t.MaxSize {
		return fmt.Errorf("%w: %d bytes of %s, at most %d", ErrTooLarge, len(data), typ, t.MaxSize)
	}
	if t.Timed {
		data = putStamp(now(), data)
	}
	if data == nil {
		data = []byte{}
	}
	var (
		p publication
		b pubsub.MessageBatch
	)
	if err := t.handle.AddToBatch(ctx, &b, data, pubsub.WithValidatorData(&p)); err != nil {
		return e.publishError(ctx, typ, err)
	}
	if p.msg == nil {
		return e.republish(t, data)
	}
	s, ok := t.l.send(&b, p.msg.Message)
	if !ok {
		return ErrClosed
	}
	return e.settle(t, p.msg, s)
}

// begin finds a type for a call that uses the network; done ends the call.
func (e *Engine) begin(typ string) (t *topic, done func(), err error) {
	if !e.calls.enter() {
		return nil, nil, ErrClosed
	}
	switch {
	case !e.started.Load():
		err = ErrNotStarted
	default:
		if t = e.byType(typ); t == nil {
			err = fmt.Errorf("%w: %q", ErrNotDeclared, typ)
		} else if !t.ready.Load() {
			err = ErrNotStarted
		}
	}
	if err != nil {
		e.calls.leave()
		return nil, nil, err
	}
	return t, e.calls.leave, nil
}

func (e *Engine) publishError(ctx context.Context, typ string, err error) error {
	var invalid pubsub.ValidationError
	switch {
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: %s", ErrRefused, typ)
	case errors.Is(err, pubsub.ErrTopicClosed):
		return fmt.Errorf("%w: %q", ErrNotDeclared, typ)
	case ctx.Err() != nil:
		return fmt.Errorf("gossip: publish %s: %w", typ, ctx.Err())
	case e.work.Err() != nil:
		return ErrClosed
	}
	return fmt.Errorf("gossip: publish %s: %w", typ, err)
}

// judgeOwn lets the type's validator look at an own message.
func (l *lane) judgeOwn(t *topic, m *pubsub.Message, p *publication) pubsub.ValidationResult {
	if t.Validate != nil && !t.TrustOwn {
		ctx, cancel := context.WithTimeout(l.e.work, t.Deadline)
		defer cancel()
		if v := l.e.ask(ctx, t, l.message(t, m)); v.action != actAccept {
			return pubsub.ValidationReject
		}
	}
	p.msg = m
	t.said(m.ID)
	return pubsub.ValidationAccept
}

// republish sends a message again that the router counts as published, if in
// truth nobody was handed it.
func (e *Engine) republish(t *topic, data []byte) error {
	m := &pubsub.Message{
		Message:      &pb.Message{Data: data, Topic: &t.Name},
		ReceivedFrom: e.cfg.Host.ID(),
	}
	m.ID = t.id()(m.Message)
	if !e.unsent.take(m.ID, func() (sum [32]byte) { return sum }) {
		return ErrDuplicate
	}
	s, ok := t.l.forward(t, m)
	if !ok {
		return ErrClosed
	}
	return e.settle(t, m, s)
}

// settle says what Publish returns for a message that was handed out.
func (e *Engine) settle(t *topic, m *pubsub.Message, s sending) error {
	switch {
	case s.handed > 0:
		t.n.published.Inc(1)
		return nil
	case s.full > 0:
		e.unsent.add(m.ID, [32]byte{}, "", now())
		return fmt.Errorf("%w: %d peers of %s", ErrQueueFull, s.full, t.Type)
	case t.FormTimeout < 0:
		e.unsent.add(m.ID, [32]byte{}, "", now())
		return fmt.Errorf("%w: %s", ErrNoPeers, t.Type)
	case !t.pending.add(m, now().Add(t.FormTimeout)):
		e.unsent.add(m.ID, [32]byte{}, "", now())
		return fmt.Errorf("%w: no peers of %s yet", ErrQueueFull, t.Type)
	}
	t.n.published.Inc(1)
	t.n.queued.Inc(1)
	e.stir() // a peer may have come meanwhile
	return nil
}

// flush hands out what waits for a first peer.
func (e *Engine) flush(t *topic) {
	for t.pending.n.Load() > 0 {
		u, ok := t.pending.front()
		if !ok {
			return
		}
		s, ok := t.l.forward(t, u.msg)
		if !ok || s.handed == 0 {
			return
		}
		t.pending.pop(u.msg)
	}
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
	t, done, err := e.begin(m.Type)
	if err != nil {
		return err
	}
	defer done()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !t.ExplicitRelay || m.raw.relayed.Swap(true) {
		return nil
	}
	s, ok := t.l.forward(t, m.raw.msg)
	switch {
	case !ok:
		return ErrClosed
	case s.handed == 0 && s.full > 0:
		m.raw.relayed.Store(false)
		return fmt.Errorf("%w: %d peers of %s", ErrQueueFull, s.full, t.Type)
	}
	t.n.relayed.Inc(1)
	_ = t.l.ps.PeerFeedback(t.Name, m.From, pubsub.PeerFeedbackUsefulMessage)
	return nil
}
