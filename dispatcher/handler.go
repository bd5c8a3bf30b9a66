package dispatcher

import (
	"context"
	"sync/atomic"
)

// Handler is a Subscriber that calls a function in goroutines of its own. Make
// one with NewHandler.
type Handler struct {
	id   any
	typ  string
	fn   func(context.Context, Message)
	opts subOptions
	run  atomic.Pointer[handlerRun]
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
// interrupted.
func NewHandler(id any, msgType string, fn func(ctx context.Context, m Message), opts ...SubscriberOption) *Handler {
	return &Handler{id: id, typ: msgType, fn: fn, opts: newSubOptions(opts)}
}

// ID implements Subscriber.
func (h *Handler) ID() any { return h.id }

// MessageType implements Subscriber.
func (h *Handler) MessageType() string { return h.typ }

// DoFilter implements Subscriber.
func (h *Handler) DoFilter() bool { return h.opts.filter }

// Weight implements Subscriber.
func (h *Handler) Weight() MessageWeight { return h.opts.weight }

// Deliver implements Subscriber: it puts msg into the handler's queue. It is
// false while the handler is not registered.
func (h *Handler) Deliver(msg Message) bool {
	run := h.run.Load()
	if run == nil {
		return false
	}
	var n int
	run.offer([]Message{msg}, []uint32{sizeOf(msg)}, &n)
	return n == 1
}

func (h *Handler) check() error {
	if h.fn == nil {
		return ErrNilHandler
	}
	return h.opts.check()
}

func (h *Handler) builtin() bool { return true }

func (h *Handler) sink(d *Dispatcher, room func()) sink {
	r := &handlerRun{h: h, d: d, name: subName(h.id, h.typ), done: make(chan struct{})}
	r.q = newQueue(&h.opts, room)
	return r
}

// handlerRun is a Handler from Register to Deregister or Stop.
type handlerRun struct {
	queueSink
	h      *Handler
	d      *Dispatcher
	name   string
	ctx    context.Context
	panics atomic.Uint64
	left   atomic.Int32  // workers that have not ended
	done   chan struct{} // closed by the last of them
}

func (r *handlerRun) begin(ctx context.Context) {
	r.ctx = ctx
	r.h.run.Store(r)
	r.left.Store(int32(r.h.opts.workers))
	for range r.h.opts.workers {
		go r.work(nil)
	}
}

func (r *handlerRun) ended() <-chan struct{} { return r.done }

func (r *handlerRun) late() lateCounts {
	l := r.queueSink.late()
	l.panics = r.panics.Load()
	return l
}

// work is one worker, which begins with the messages in held. It starts
// another in its place when the function ends the goroutine, as the FailNow of
// a test does.
func (r *handlerRun) work(held []Message) {
	returned := false
	defer func() {
		if !returned {
			go r.work(held)
			return
		}
		if r.left.Add(-1) == 0 {
			close(r.done)
		}
	}()
	buf := make([]Message, r.chunk())
	for {
		for len(held) > 0 && !r.cut() {
			r.call(&held)
		}
		clear(held)
		n, closed := r.q.take(buf)
		held = buf[:n]
		if n == 0 {
			if closed {
				returned = true
				return
			}
			<-r.q.wake
		}
	}
}

// chunk is how many messages a worker takes at once. Those it holds cannot be
// replaced any more, nor be handled by another worker.
func (r *handlerRun) chunk() int {
	o := &r.h.opts
	if o.policy == DropOldest || o.policy == NewestPerKey || o.workers > 1 {
		return 1
	}
	return min(max(o.queue/4, 1), 128)
}

// call runs the function for messages in turn, until one panics, and takes
// those it was called for from *held.
func (r *handlerRun) call(held *[]Message) {
	ok := false
	defer func() {
		if !ok {
			r.panics.Add(1)
			r.d.panicked(r.name, recover())
		}
	}()
	for len(*held) > 0 && r.claim() {
		m := (*held)[0]
		(*held)[0] = nil
		*held = (*held)[1:]
		r.h.fn(r.ctx, m)
	}
	ok = true
}
