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
	id     string
	msg    *pubsub.Message // set once the router has accepted it as new
	flight chan struct{}   // closed when it has been handed out, or has failed
	other  chan struct{}   // that of an equal message, which is under way already
}

// Publish broadcasts data to the type's topic; the type need not be joined. Nil
// means that at least one peer's queue has taken the message, or that it waits
// for the first peer (up to Config.FormTimeout). data belongs to the engine from
// then on and may not be changed. ctx bounds the wait for the router, which
// takes one message at a time.
//
// Errors: ErrClosed, ErrNotStarted, ErrNotDeclared, ErrTooLarge, ErrRefused,
// ErrDuplicate, ErrNoPeers, ErrQueueFull, and the context's.
func (e *Engine) Publish(ctx context.Context, typ string, data []byte) error {
	t, done, err := e.begin(typ)
	if err != nil {
		return err
	}
	defer done()
	if most := t.set().MaxPublish; len(data) > most {
		return fmt.Errorf("%w: %d bytes of %s, at most %d", ErrTooLarge, len(data), typ, most)
	}
	if t.pending.full(len(data)) {
		// Before the router knows of it, and announces what is refused here.
		return fmt.Errorf("%w: no peers of %s yet", ErrQueueFull, t.Type)
	}
	if _, _, looks := openStamp(data); t.Timed || t.stamps && looks {
		data = putStamp(now(), data)
	}
	if data == nil {
		data = []byte{}
	}
	for {
		var p publication
		err := e.publish(ctx, t, data, &p)
		if p.other == nil {
			return err
		}
		// Whether this one is a duplicate depends on what becomes of the other.
		select {
		case <-p.other:
		case <-ctx.Done():
			return e.publishError(ctx, typ, ctx.Err())
		}
	}
}

func (e *Engine) publish(ctx context.Context, t *topic, data []byte, p *publication) error {
	var b pubsub.MessageBatch
	t.validator.RLock()
	err := t.handle.AddToBatch(ctx, &b, data, pubsub.WithValidatorData(p))
	t.validator.RUnlock()
	defer e.land(p)
	if err != nil {
		return e.publishError(ctx, t.Type, err)
	}
	if p.msg == nil {
		return e.republish(ctx, t, data, p)
	}
	s, err := t.l.send(ctx, &b, p.msg.Message)
	return e.settle(ctx, t, p.msg, s, err)
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
	case errors.Is(err, ErrClosed):
		return err
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
	if s := t.set(); s.Validate != nil && !s.TrustOwn {
		ctx, cancel := context.WithTimeout(l.e.work, s.Deadline)
		defer cancel()
		if v := l.e.ask(ctx, t, l.message(t, m)); v.action != actAccept {
			return pubsub.ValidationReject
		}
	}
	if !l.e.takeOff(p, m.ID) {
		return pubsub.ValidationIgnore
	}
	p.msg = m
	t.said(m.ID)
	return pubsub.ValidationAccept
}

// takeOff notes that a message is being published, unless an equal one is.
func (e *Engine) takeOff(p *publication, id string) bool {
	flight := make(chan struct{})
	if other, under := e.flights.LoadOrStore(id, flight); under {
		p.other = other.(chan struct{})
		return false
	}
	p.id, p.flight = id, flight
	return true
}

// land undoes takeOff.
func (e *Engine) land(p *publication) {
	if p.flight != nil {
		e.flights.Delete(p.id)
		close(p.flight)
	}
}

// republish sends a message again that the router counts as published, if in
// truth nobody was handed it.
func (e *Engine) republish(ctx context.Context, t *topic, data []byte, p *publication) error {
	m := &pubsub.Message{
		Message:      &pb.Message{Data: data, Topic: &t.Name},
		ReceivedFrom: e.cfg.Host.ID(),
	}
	m.ID = t.id()(m.Message)
	if !e.takeOff(p, m.ID) {
		return nil // see p.other
	}
	if !e.unsent.hold(m.ID, noSum) {
		return ErrDuplicate
	}
	defer e.unsent.release(m.ID)
	s, err := t.l.forward(ctx, t, m)
	return e.settle(ctx, t, m, s, err)
}

// settle says what Publish returns for a message that was handed out, or could
// not be because of err.
func (e *Engine) settle(ctx context.Context, t *topic, m *pubsub.Message, s sending, err error) error {
	wait := t.set().FormTimeout
	switch {
	case err != nil:
		err = e.publishError(ctx, t.Type, err)
	case s.handed > 0:
		t.n.published.Inc(1)
		return nil
	case s.full > 0:
		err = fmt.Errorf("%w: %d peers of %s", ErrQueueFull, s.full, t.Type)
	case wait < 0:
		err = fmt.Errorf("%w: %s", ErrNoPeers, t.Type)
	case !t.pending.add(m, now().Add(wait)):
		err = fmt.Errorf("%w: no peers of %s yet", ErrQueueFull, t.Type)
	}
	if err != nil {
		e.unsent.add(m.ID, noSum(), now(), "")
		return err
	}
	t.recent.remove(m.ID) // flush says it again
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
		s, err := t.l.forward(e.work, t, u.msg)
		if err != nil || s.handed == 0 {
			t.recent.remove(u.msg.ID)
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
	if !t.set().ExplicitRelay || m.raw.relayed.Swap(true) {
		return nil
	}
	s, err := t.l.forward(ctx, t, m.raw.msg)
	switch {
	case err != nil:
		m.raw.relayed.Store(false)
		return e.publishError(ctx, t.Type, err)
	case s.handed == 0 && s.full > 0:
		m.raw.relayed.Store(false)
		return fmt.Errorf("%w: %d peers of %s", ErrQueueFull, s.full, t.Type)
	}
	t.n.relayed.Inc(1)
	_ = t.l.ps.PeerFeedback(t.Name, m.From, pubsub.PeerFeedbackUsefulMessage)
	return nil
}
