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
	t := (*e.types.Load())[msgType]
	if t == nil {
		return Prepared{}, ErrUnknownType
	}
	m := newMessage(t, data, true)
	if err := e.prepare(&m); err != nil {
		return Prepared{}, err
	}
	return Prepared{m}, nil
}

// prepare checks a message and compresses it.
func (e *Engine) prepare(m *message) error {
	spec := &m.t.spec
	if len(m.body) > spec.MaxSize {
		return &TooLargeError{Type: spec.Name, Size: len(m.body), Max: spec.MaxSize}
	}
	if len(m.body) > spec.CompressAbove && spec.Compress != CompressNone {
		m.body, m.head.flags = e.codec.compress(m.body, spec.Compress)
		m.head.body = len(m.body)
		m.shared = m.shared || m.head.flags != flagNone
	}
	return nil
}

// Send queues a message for the peer, and waits for room in the queue until
// ctx ends. nil means that the message is queued to a live peer; Stats tells
// what then happens to it. data is copied, unless opts say that it is shared.
//
// Errors: ErrUnknownType, *TooLargeError, ErrUnsupported, *FullError (with what
// ended ctx), *ClosedError.
func (s *Session) Send(ctx context.Context, msgType string, data []byte, opts SendOptions) error {
	o, err := s.find(msgType)
	if err != nil {
		return err
	}
	m := newMessage(o.t, data, opts.Shared)
	if err := s.e.prepare(&m); err != nil {
		return err
	}
	return o.send(ctx, &m, o.class(opts.Priority))
}

// TrySendPrepared is Send of a prepared message that never waits: ErrQueueFull
// says that there is no room.
func (s *Session) TrySendPrepared(p Prepared, pri Priority) error {
	o, err := s.outbound(p.m.t)
	if err != nil {
		return err
	}
	return o.trySend(&p.m, o.class(pri))
}

// find finds the queue of a type.
func (s *Session) find(msgType string) (*outbound, error) {
	return s.outbound((*s.e.types.Load())[msgType])
}

// class is that of a message with a priority.
func (o *outbound) class(p Priority) int {
	if p == PriorityDefault || p > PriorityLow {
		p = o.t.spec.Priority
	}
	return p.class()
}

// supportedLocked tells whether the type may be sent to the peer. An open
// stream is the proof; without one, earlier refusals and identify are asked.
func (o *outbound) supportedLocked() bool {
	return o.stream != nil || o.writing ||
		o.support.allow(o.s.since(), o.s.e.cfg.UnsupportedFor, o.identify)
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
