package session

import (
	"context"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// identifyID is in the protocol list of every peer that identify has told of.
const identifyID protocol.ID = "/ipfs/id/1.0.0"

// Prepared is a message that has been checked and, where that helps,
// compressed, to be sent to many peers. Its data must not be changed any more.
type Prepared struct{ m message }

// Prepare makes a message ready to be sent to any number of peers. Errors are
// ErrUnknownType and *TooLargeError.
func (e *Engine) Prepare(msgType string, data []byte) (Prepared, error) {
	m, err := e.prepare(msgType, data)
	m.shared = true
	return Prepared{m}, err
}

func (e *Engine) prepare(msgType string, data []byte) (message, error) {
	t := (*e.types.Load())[msgType]
	if t == nil {
		return message{}, ErrUnknownType
	}
	if len(data) > t.spec.MaxSize {
		return message{}, &TooLargeError{Type: msgType, Size: len(data), Max: t.spec.MaxSize}
	}
	m := message{t: t, head: header{body: len(data), raw: len(data)}, body: data}
	if len(data) > t.spec.CompressAbove && t.spec.Compress != CompressNone {
		m.body, m.head.flags = e.codec.compress(data, t.spec.Compress)
		m.head.body = len(m.body)
		m.shared = m.head.flags != flagNone
	}
	return m, nil
}

// Send queues a message for the peer, and waits for room in the queue until
// ctx ends. nil means that the message is queued to a live peer; Stats tells
// what then happens to it. data is copied, unless opts say that it is shared.
//
// Errors: ErrUnknownType, *TooLargeError, ErrUnsupported, *FullError (with what
// ended ctx), *ClosedError.
func (s *Session) Send(ctx context.Context, msgType string, data []byte, opts SendOptions) error {
	m, err := s.e.prepare(msgType, data)
	if err != nil {
		return err
	}
	m.shared = m.shared || opts.Shared
	o, class, err := s.route(m.t, opts.Priority)
	if err != nil {
		return err
	}
	return o.send(ctx, m, class)
}

// TrySend is like Send, and never waits: ErrQueueFull says that there is no
// room.
func (s *Session) TrySend(msgType string, data []byte, opts SendOptions) error {
	m, err := s.e.prepare(msgType, data)
	if err != nil {
		return err
	}
	m.shared = m.shared || opts.Shared
	o, class, err := s.route(m.t, opts.Priority)
	if err != nil {
		return err
	}
	return o.push(m, class)
}

// SendPrepared is Send for a prepared message.
func (s *Session) SendPrepared(ctx context.Context, p Prepared, pri Priority) error {
	o, class, err := s.route(p.m.t, pri)
	if err != nil {
		return err
	}
	return o.send(ctx, p.m, class)
}

// TrySendPrepared is TrySend for a prepared message.
func (s *Session) TrySendPrepared(p Prepared, pri Priority) error {
	o, class, err := s.route(p.m.t, pri)
	if err != nil {
		return err
	}
	return o.push(p.m, class)
}

// route finds the queue and the class of a message.
func (s *Session) route(t *declared, pri Priority) (*outbound, int, error) {
	if t == nil {
		return nil, 0, ErrUnknownType
	}
	o, err := s.outbound(t)
	if err != nil {
		return nil, 0, err
	}
	if pri == PriorityDefault || pri > PriorityLow {
		pri = t.spec.Priority
	}
	if !o.supported() {
		return nil, 0, ErrUnsupported
	}
	return o, pri.class(), nil
}

// Supports tells whether the peer is believed to understand a type: false is
// what Send would answer with ErrUnsupported or ErrUnknownType.
func (s *Session) Supports(msgType string) bool {
	t := (*s.e.types.Load())[msgType]
	if t == nil {
		return false
	}
	o, err := s.outbound(t)
	return err == nil && o.supported()
}

// supported tells whether the type may be sent to the peer. An open stream is
// the proof; without one, earlier refusals and identify are asked.
func (o *outbound) supported() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream != nil || o.writing {
		return true
	}
	if !o.support.allow(o.s.since(), o.s.e.cfg.UnsupportedFor, o.identify) {
		o.sent.Refused++
		return false
	}
	return true
}

// identify tells what identify knows of the type.
func (o *outbound) identify() knowledge {
	known, err := o.s.e.cfg.Host.Peerstore().SupportsProtocols(o.s.peer, o.t.pid, identifyID)
	if err != nil {
		return knowNothing
	}
	k := knowNothing
	for _, p := range known {
		switch p {
		case o.t.pid:
			return knowYes
		case identifyID:
			k = knowNo
		}
	}
	return k
}
