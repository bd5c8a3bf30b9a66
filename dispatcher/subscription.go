package dispatcher

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
)

// Subscription is a Subscriber whose messages are read by a loop of the
// caller. Make one with NewSubscription, or use Dispatcher.Messages.
type Subscription struct {
	id   any
	typ  string
	opts subOptions
	run  atomic.Pointer[subscriptionRun]
}

// NewSubscription returns a subscriber for messages of msgType that wait, in a
// queue of its own, for a loop over All. It can be registered once.
func NewSubscription(id any, msgType string, opts ...SubscriberOption) *Subscription {
	return &Subscription{id: id, typ: msgType, opts: newSubOptions(opts)}
}

// ID implements Subscriber.
func (s *Subscription) ID() any { return s.id }

// MessageType implements Subscriber.
func (s *Subscription) MessageType() string { return s.typ }

// DoFilter implements Subscriber.
func (s *Subscription) DoFilter() bool { return s.opts.filter }

// Weight implements Subscriber.
func (s *Subscription) Weight() MessageWeight { return s.opts.weight }

// Deliver implements Subscriber: it puts msg into the queue. It is false while
// the subscription is not registered.
func (s *Subscription) Deliver(msg Message) bool {
	run := s.run.Load()
	if run == nil {
		return false
	}
	var n int
	run.offer([]Message{msg}, []uint32{sizeOf(msg)}, &n)
	return n == 1
}

// All returns a sequence of the messages in order, waiting for each. It ends
// when ctx does, when the subscription is deregistered, and, once the queue is
// empty, when the dispatcher stops. It ends at once if the subscription is not
// registered. It may be ranged over again, to go on where it was left; of
// several loops at the same time each gets a part.
func (s *Subscription) All(ctx context.Context) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		run := s.run.Load()
		if run == nil {
			return
		}
		for {
			m, ok := run.next(ctx)
			if !ok || !yield(m) {
				return
			}
		}
	}
}

func (s *Subscription) check() error  { return s.opts.check() }
func (s *Subscription) builtin() bool { return true }

func (s *Subscription) sink(room func()) sink {
	r := &subscriptionRun{done: make(chan struct{})}
	r.q = newQueue(&s.opts, room)
	r.q.takers = 2 // or more: All may be ranged over by several
	return r
}

// subscriptionRun is a Subscription from Register on.
type subscriptionRun struct {
	queueSink
	once sync.Once     // closes done
	done chan struct{} // closed when closed and empty
}

func (r *subscriptionRun) begin(context.Context)  {}
func (r *subscriptionRun) ended() <-chan struct{} { return r.done }

func (r *subscriptionRun) next(ctx context.Context) (Message, bool) {
	var buf [1]Message
	for ctx.Err() == nil {
		n, closed := r.q.take(buf[:])
		switch {
		case n > 0:
			claimed := r.claim()
			r.finish()
			return buf[0], claimed
		case closed:
			return nil, false
		}
		select {
		case <-r.q.wake:
		case <-ctx.Done():
		}
	}
	return nil, false
}

func (r *subscriptionRun) drain() {
	r.q.close()
	r.finish()
}

func (r *subscriptionRun) retire(reason dropIndex) {
	r.queueSink.retire(reason)
	r.finish()
}

func (r *subscriptionRun) abort() int {
	n := r.queueSink.abort()
	r.finish()
	return n
}

func (r *subscriptionRun) finish() {
	if r.q.spent() {
		r.once.Do(func() { close(r.done) })
	}
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
