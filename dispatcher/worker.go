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

// work is one worker, which begins with the messages in batch. It starts
// another in its place when the user's code ends the goroutine, as the FailNow
// of a test does.
func (s *subscription) work(batch []item) {
	s.labels.Apply()
	returned := false
	defer func() {
		if !returned {
			go s.work(batch)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.workers--
		s.finishLocked()
	}()
	obs.Callback(func() { s.serve(&batch) })
	returned = true
}

// serve hands messages over, those in *batch first, until the queue is closed and
// empty.
func (s *subscription) serve(batch *[]item) {
	buf := make([]item, s.chunk)
	for {
		for len(*batch) > 0 && !s.isCut() {
			s.run(batch)
		}
		clear(*batch)
		n, closed := s.take(buf, false)
		*batch = buf[:n]
		if n == 0 {
			if closed {
				return
			}
			<-s.wake
		}
	}
}

// run hands messages over, until the user's code panics or ends the goroutine,
// and takes those from *batch.
func (s *subscription) run(batch *[]item) {
	returned := false
	defer func() {
		if !returned {
			s.topic.d.panicked(s.name, recover())
			s.mu.Lock()
			s.counts.panics++
			s.mu.Unlock()
		}
	}()
	s.consume(batch)
	returned = true
}

// shift takes the first message.
func shift(batch *[]item) item {
	it := (*batch)[0]
	(*batch)[0] = item{}
	*batch = (*batch)[1:]
	return it
}

const foreignBatch = 128 // messages that DeliverBatch gets at most

// callHandler is what the workers of a handler do.
func (s *subscription) callHandler(ctx context.Context, fn func(context.Context, Message)) func(*[]item) {
	return func(batch *[]item) {
		for len(*batch) > 0 && s.claim(1) {
			m := (*batch)[0].msg
			(*batch)[0].msg = nil
			*batch = (*batch)[1:]
			fn(ctx, m)
		}
	}
}

// each hands messages over one by one. The one whose code panics, or ends the
// goroutine, is lost.
func (s *subscription) each(batch *[]item, handOver func(*item)) {
	var it item
	returned := false
	defer func() {
		if !returned {
			s.revoke(iPanic, it)
		}
	}()
	for len(*batch) > 0 && s.claim(1) {
		it = shift(batch)
		handOver(&it)
	}
	returned = true
}

// callForeign is what the worker of a subscriber of another module does: deliver is its
// DeliverBatch, or its Deliver for one message.
func (s *subscription) callForeign(deliver func([]Message) int) func(*[]item) {
	msgs := make([]Message, 0, s.chunk)
	return func(batch *[]item) {
		all, returned := *batch, false
		if !s.claim(len(all)) {
			return
		}
		for i := range all {
			msgs = append(msgs, all[i].msg)
		}
		*batch = nil
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
			*batch = all[took+1:]
			s.unclaim(len(*batch))
		}
	}
}

// send is what the worker of a channel does. It tries without stop first: a
// select of two locks both of them, and mostly there is space. That the
// owner has closed the channel is a panic.
func (s *subscription) send(batch *[]item) {
	s.each(batch, func(it *item) {
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
