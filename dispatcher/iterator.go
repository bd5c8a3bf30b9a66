package dispatcher

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// Subscription is a Subscriber whose messages are read by a loop of the
// caller. Make one with NewSubscription, or use Dispatcher.Messages.
type Subscription struct {
	base
	sub atomic.Pointer[subscription]
}

// NewSubscription returns a subscriber for messages of msgType that wait, in a
// queue of its own, for a loop over All. It can be registered once.
func NewSubscription(id any, msgType string, opts ...SubscriberOption) *Subscription {
	return &Subscription{base: newBase(id, msgType, opts)}
}

// Deliver implements Subscriber, and takes nothing: messages come to the queue by
// PutMessage alone.
func (i *Subscription) Deliver(Message) bool { return false }

// All returns a sequence of the messages in order, waiting for each. It ends
// when ctx does, when the subscription is deregistered, and, once the queue is
// empty, when the dispatcher stops. It ends at once if the subscription is not
// registered. It may be ranged over again, to go on where it was left; of
// several loops at the same time each gets a part.
func (i *Subscription) All(ctx context.Context) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		s := i.sub.Load()
		if s == nil {
			return
		}
		for {
			m, ok := s.last().receive(ctx)
			if !ok || !yield(m) {
				return
			}
		}
	}
}

func (i *Subscription) connect(s *subscription) error {
	if err := i.opts.check(); err != nil {
		return err
	}
	s.init(&i.opts)
	s.last().takers = 2 // or more: All may be ranged over by several
	if !i.sub.CompareAndSwap(nil, s) {
		return fmt.Errorf("%w: a Subscription can be registered once", ErrDuplicateSubscriber)
	}
	s.onRelease = func() { i.sub.CompareAndSwap(s, nil) }
	return nil
}

// receive waits for a message. It is false when ctx ends or nothing more comes.
func (s *subscription) receive(ctx context.Context) (Message, bool) {
	var buf [1]item
	for ctx.Err() == nil {
		n, closed := s.take(buf[:], true)
		switch {
		case n > 0:
			return buf[0].msg, true
		case closed:
			return nil, false
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
	}
	return nil, false
}

// Messages subscribes to a message type and returns its messages as a
// sequence, which may be ranged over once:
//
//	for m := range d.Messages(ctx, "block") { ... }
//
// The subscription begins with the call, not with the loop, and ends when the
// loop does, when ctx ends, or when the dispatcher stops. When it cannot be
// made, because the type or an option is invalid or the dispatcher is stopped,
// the reason is logged and the sequence is empty; NewSubscription returns the
// reason through Register.
func (d *Dispatcher) Messages(ctx context.Context, msgType string, opts ...SubscriberOption) iter.Seq[Message] {
	sub := NewSubscription(new(anonymous), msgType, opts...)
	if err := d.Register(sub); err != nil {
		d.log.WithError(err).Warn("cannot subscribe")
		return func(func(Message) bool) {}
	}
	end := sync.OnceFunc(func() { _ = d.Deregister(sub) })
	stop := context.AfterFunc(ctx, end)
	return func(yield func(Message) bool) {
		defer end()
		defer stop()
		for m := range sub.All(ctx) {
			if !yield(m) {
				return
			}
		}
	}
}

// anonymous is the ID of a subscriber that nobody else names. It is not empty,
// so that its address is its own.
type anonymous struct{ _ byte }
