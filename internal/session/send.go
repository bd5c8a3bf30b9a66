package session

import (
	"context"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// Prepared is a message that has been checked and, where that helps,
// compressed, to be sent to many peers. Its data must not be changed any more.
type Prepared struct{ m message }

// Prepare makes a message ready to be sent to any number of peers. Errors are
// ErrUnknownType and *TooLargeError.
func (e *Engine) Prepare(msgType string, data []byte) (Prepared, error) {
	m, err := e.prepare(e.reg.lookup(msgType), data, true)
	return Prepared{m}, err
}

// prepare checks a message and compresses it.
func (e *Engine) prepare(t *messageType, data []byte, shared bool) (message, error) {
	if t == nil {
		return message{}, ErrUnknownType
	}
	set := t.now.Load()
	if set == nil {
		return message{}, ErrUnknownType
	}
	spec := &set.spec
	m := message{t: t, head: header{body: len(data), raw: len(data)}, body: data, shared: shared}
	if len(data) > spec.MaxSize {
		return message{}, &TooLargeError{Type: t.name, Size: len(data), Max: spec.MaxSize}
	}
	if len(data) > spec.CompressAbove && spec.Compression != msgtype.CompressNone {
		m.body, m.head.flags = e.codec.compress(data, spec.Compression)
		m.head.body = len(m.body)
		m.shared = shared || m.head.flags != flagNone
	}
	return m, nil
}

// Send queues a message for the peer, and waits for room in the queue until
// ctx ends. nil means that the message is queued to a live peer; Stats tells
// what then happens to it. data is copied, unless opts say that it is shared.
//
// Errors: ErrUnknownType, *TooLargeError, *UnsupportedError, *FullError (with
// what ended ctx), *ClosedError.
func (s *Session) Send(ctx context.Context, msgType string, data []byte, opts SendOptions) error {
	t := s.e.reg.lookup(msgType)
	o, err := s.queue(t)
	if err != nil {
		return err
	}
	m, err := s.e.prepare(t, data, opts.Shared)
	if err != nil {
		return err
	}
	return o.send(ctx, &m, o.class(opts.Priority))
}

// TrySendPrepared is Send of a prepared message that never waits: ErrQueueFull
// says that there is no room.
func (s *Session) TrySendPrepared(p Prepared, pri msgtype.Priority) error {
	o, err := s.queue(p.m.t)
	if err != nil {
		return err
	}
	return o.refused(o.push(&p.m, o.class(pri)))
}

// class is that of a message with a priority.
func (o *sendQueue) class(p msgtype.Priority) int {
	if p == msgtype.PriorityDefault || p > msgtype.PriorityLow {
		p = msgtype.PriorityNormal
		if set := o.t.now.Load(); set != nil {
			p = set.spec.Priority
		}
	}
	return int(p) - 1 // 0 is the highest
}
