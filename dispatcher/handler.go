package dispatcher

import "context"

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
