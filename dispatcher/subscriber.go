package dispatcher

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// MessageWeight is what a useful message of a type is worth when peers are
// compared by what they have sent. 0 means 1. A type has the largest weight of
// its subscribers, see Dispatcher.Weight. It has no influence on delivery.
type MessageWeight uint8

// Subscriber gets the messages of one type. Other modules may implement it.
//
// ID, MessageType, DoFilter and Weight are asked once, by Register. Deliver is
// called by a goroutine that the subscriber has for itself, never twice at the
// same time, with messages in the order in which they were put. They wait for
// it in a queue of DefaultQueue messages and DefaultQueueBytes, under the policy
// Lossless: while that is full, PutMessage of the type waits.
//
// A subscriber may be a BatchSubscriber too.
type Subscriber interface {
	// ID together with MessageType is the subscriber's identity: two
	// subscribers of the same type need different IDs. It must be comparable
	// and not nil.
	ID() any
	// MessageType is the type it wants; see ValidType.
	MessageType() string
	// DoFilter says that it does not want a message it has taken before.
	DoFilter() bool
	// Weight is the weight of its type; see MessageWeight.
	Weight() MessageWeight
	// Deliver hands over a message. It may block: the messages behind it wait,
	// and no other subscriber does until the queue is full. False says that it
	// did not take the message, which then is lost for this subscriber and
	// counted as DropSubscriberFull. A panic is recovered and counts as
	// DropPanic.
	Deliver(msg Message) bool
}

// BatchSubscriber is a Subscriber that takes many messages with one call.
type BatchSubscriber interface {
	Subscriber
	// DeliverBatch replaces Deliver under the same rules. It takes msgs[:n]
	// and returns n, which is less than len(msgs) if it did not take msgs[n];
	// what comes behind that is offered again. It must not keep msgs, only the
	// messages in it. After a panic all of msgs counts as dropped.
	DeliverBatch(msgs []Message) (n int)
}

// base is what the subscribers of this package have in common.
type base struct {
	id   any
	typ  string
	opts subOptions
}

func newBase(id any, msgType string, opts []SubscriberOption) base {
	return base{id, msgType, newSubOptions(opts)}
}

// ID implements Subscriber.
func (b *base) ID() any { return b.id }

// MessageType implements Subscriber.
func (b *base) MessageType() string { return b.typ }

// DoFilter implements Subscriber.
func (b *base) DoFilter() bool { return b.opts.filter }

// Weight implements Subscriber.
func (b *base) Weight() MessageWeight { return b.opts.weight }

func (b *base) builtin() bool { return true }

// ChanSubscriber is a Subscriber that puts messages into a channel. Make one
// with NewSubscriber.
type ChanSubscriber struct {
	base
	ch chan Message
}

// NewSubscriber returns a subscriber that puts messages of msgType into ch. It
// is registered with Dispatcher.Register, which reports what is wrong with it.
//
// A message that finds the channel full is dropped and counted, unless an
// option sets another policy. DropOldest receives from the channel to make
// space and so needs one with a buffer. Lossless and NewestPerKey keep what the
// channel does not take in a queue of their own (WithQueue), which a goroutine
// empties.
//
// A channel that has been full keeps a quarter of its places for senders that
// have taken less than others of late, until half of it is free again.
//
// Deregister and Stop do not wait for the channel to be read. They do not
// close it either, unless WithCloseChannel says so.
func NewSubscriber(id any, ch chan Message, doFilter bool, msgType string, weight MessageWeight, opts ...SubscriberOption) *ChanSubscriber {
	c := &ChanSubscriber{newBase(id, msgType, opts), ch}
	c.opts.filter, c.opts.weight = doFilter, weight
	return c
}

// Deliver implements Subscriber: it puts msg into the channel if there is space.
func (c *ChanSubscriber) Deliver(msg Message) bool {
	select {
	case c.ch <- msg:
		return true
	default:
		return false
	}
}

// builtin marks types whose behaviour is more than their Deliver.
func (c *ChanSubscriber) builtin() bool { return c.opts.policy != DropNewest || c.opts.closeChan }

func (c *ChanSubscriber) connect(s *subscription) error {
	switch {
	case c.ch == nil:
		return ErrNilChannel
	case c.opts.policy == DropOldest && cap(c.ch) == 0:
		return fmt.Errorf("%w: DropOldest needs a channel with a buffer", ErrInvalidOption)
	}
	if err := c.opts.check(); err != nil {
		return err
	}
	s.init(&c.opts)
	last := s.last()
	last.ch, last.ownCode, last.closeCh = c.ch, true, c.opts.closeChan
	switch c.opts.policy {
	case Lossless:
		s.direct, s.chunk, s.consume = true, 64, s.send
	case NewestPerKey:
		last.consume = last.send // one at a time: what is taken cannot be replaced any more
	default:
		s.direct = true
	}
	return nil
}

// closeChannel survives a channel that its owner closed against the rules.
func closeChannel(ch chan Message) {
	defer func() { _ = recover() }()
	close(ch)
}

// Handler is a Subscriber that calls a function in goroutines of its own. Make
// one with NewHandler.
type Handler struct {
	base
	fn func(context.Context, Message)
}

// NewHandler returns a subscriber that calls fn for every message of msgType,
// in order and one at a time unless WithWorkers says otherwise. It is
// registered with Dispatcher.Register, which reports what is wrong with it.
//
// Messages wait in a queue of the handler's own (WithQueue, WithQueueBytes);
// what happens when it is full is the policy. A panic of fn is recovered,
// logged with its stack and counted, and the next message follows.
//
// The context ends when Stop needs fn to return. After Deregister the messages
// that still wait are dropped and counted; a call that is under way is not
// interrupted. Dispatcher.Stop refuses the context of one of its handlers.
func NewHandler(id any, msgType string, fn func(ctx context.Context, m Message), opts ...SubscriberOption) *Handler {
	return &Handler{newBase(id, msgType, opts), fn}
}

// Deliver implements Subscriber: it calls the function with msg, in the goroutine of
// the caller and past the handler's queue.
func (h *Handler) Deliver(msg Message) bool {
	h.fn(context.Background(), msg)
	return true
}

func (h *Handler) connect(s *subscription) error {
	if h.fn == nil {
		return ErrNilHandler
	}
	if err := h.opts.check(); err != nil {
		return err
	}
	s.init(&h.opts)
	last := s.last()
	last.takers = h.opts.workers
	last.consume = last.callHandler(context.WithValue(s.topic.d.ctx, handlerOf{s.topic.d}, s.name), h.fn)
	// What a worker holds cannot be replaced any more, nor be handled by
	// another one.
	if !h.opts.policy.evicts() && h.opts.workers == 1 {
		last.chunk = min(max(h.opts.queue/4, 1), 128)
	}
	return nil
}

// handlerOf is the key under which the context of a dispatcher's handler has
// its name.
type handlerOf struct{ d *Dispatcher }

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
