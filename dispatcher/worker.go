package dispatcher

import (
	"context"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// startWorkers starts the goroutines behind a subscription's queue. They end
// when it is closed and empty, or cut. Stop waits for each of them.
func (s *subscription) startWorkers() {
	if s.keyed != nil {
		s.keyed.startWorkers()
	}
	if s.consume == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = s.takers
	s.labels = s.topic.d.obs.Labels("dispatcher", "type", s.topic.name, "subscriber", s.label)
	for range s.workers {
		go s.work(nil)
	}
}

// work is one worker, which begins with the messages in held. It starts
// another in its place when the user's code ends the goroutine, as the FailNow
// of a test does.
func (s *subscription) work(held []item) {
	s.labels.Apply()
	returned := false
	defer func() {
		if !returned {
			go s.work(held)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.workers--
		s.finishLocked()
	}()
	obs.Callback(func() { s.serve(&held) })
	returned = true
}

// serve hands messages over, those in *held first, until the queue is closed and
// empty.
func (s *subscription) serve(held *[]item) {
	buf := make([]item, s.chunk)
	for {
		for len(*held) > 0 && !s.isCut() {
			s.run(held)
		}
		clear(*held)
		n, closed := s.take(buf, false)
		*held = buf[:n]
		if n == 0 {
			if closed {
				return
			}
			<-s.wake
		}
	}
}

// run hands messages over, until the user's code panics or ends the goroutine,
// and takes those from *held.
func (s *subscription) run(held *[]item) {
	returned := false
	defer func() {
		if !returned {
			s.topic.d.panicked(s.name, recover())
			s.mu.Lock()
			s.counts.panics++
			s.mu.Unlock()
		}
	}()
	s.consume(held)
	returned = true
}

// shift takes the first message.
func shift(held *[]item) item {
	it := (*held)[0]
	(*held)[0] = item{}
	*held = (*held)[1:]
	return it
}

const foreignBatch = 128 // messages that DeliverBatch gets at most

// callHandler is what the workers of a handler do.
func (s *subscription) callHandler(ctx context.Context, fn func(context.Context, Message)) func(*[]item) {
	return func(held *[]item) {
		for len(*held) > 0 && s.claim(1) {
			m := (*held)[0].msg
			(*held)[0].msg = nil
			*held = (*held)[1:]
			fn(ctx, m)
		}
	}
}

// each hands messages over one by one. The one whose code panics, or ends the
// goroutine, is lost.
func (s *subscription) each(held *[]item, handOver func(*item)) {
	var it item
	returned := false
	defer func() {
		if !returned {
			s.revoke(iPanic, it)
		}
	}()
	for len(*held) > 0 && s.claim(1) {
		it = shift(held)
		handOver(&it)
	}
	returned = true
}

// callForeign is what the worker of a subscriber of another module does: deliver is its
// DeliverBatch, or its Deliver for one message.
func (s *subscription) callForeign(deliver func([]Message) int) func(*[]item) {
	msgs := make([]Message, 0, s.chunk)
	return func(held *[]item) {
		all, returned := *held, false
		if !s.claim(len(all)) {
			return
		}
		for i := range all {
			msgs = append(msgs, all[i].msg)
		}
		*held = nil
		defer func() {
			if !returned {
				s.revoke(iPanic, all...)
			}
			clear(msgs)
			msgs = msgs[:0]
		}()
		took := min(max(deliver(msgs), 0), len(all))
		returned = true
		if took < len(all) {
			s.revoke(iSubscriberFull, all[took])
			*held = all[took+1:]
			s.unclaim(len(*held))
		}
	}
}

// send is what the worker of a channel does. It tries without stop first: a
// select of two locks both of them, and mostly there is space. That the
// owner has closed the channel is a panic.
func (s *subscription) send(held *[]item) {
	s.each(held, func(it *item) {
		select {
		case s.ch <- it.msg:
			return
		default:
		}
		select {
		case s.ch <- it.msg:
		case <-s.stop: // closed by cut
			s.unclaim(1)
		}
	})
}
