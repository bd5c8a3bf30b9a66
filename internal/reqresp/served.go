package reqresp

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// errCancelled is why the context of a handler ends whose caller gave up.
var errCancelled = errors.New("the caller gave up")

// stage is where a call stands that a peer has made.
type stage int

const (
	receiving stage = iota // the request is not complete
	waiting                // for a handler
	running                // in a handler
	answering              // the handler has returned; the answer is being written
	over
)

// served is a call of a peer.
type served struct {
	s   *server
	out outgoing // the answers
	in  incoming // the request, or requests

	ctx      context.Context
	stop     context.CancelFunc
	deadline time.Time   // zero: none
	gone     atomic.Bool // nobody waits for an answer any more

	requested bool // the reader's: everything has come
	began     time.Time

	stage  stage // guarded by the engine's desk
	booked int   // bytes, likewise
}

// newServed takes a call in, or says why not.
func (s *server) newServed(call uint64, t terms) (*served, failure) {
	e, spec := s.e, &s.m.spec
	if s.m.handler.Load() == nil {
		return nil, failure{code: Unsupported}
	}
	if after, ok := s.m.allow(s.from, time.Now()); !ok {
		return nil, failure{code: Busy, after: after}
	}
	if f := e.desk.enter(s); f.code != 0 {
		return nil, f
	}
	k := &served{s: s}
	k.out.call, k.out.credit = call, -1
	window := 0
	limit := t.deadline
	switch spec.Kind {
	case Unary:
		if limit == 0 || limit > spec.Deadline {
			limit = spec.Deadline
		}
	case Stream:
		k.out.credit = t.window
	case Upload:
		window = uploadWindow
	}
	k.in.init(spec.MaxRequest, window)
	if limit > 0 {
		k.deadline = time.Now().Add(limit)
		k.ctx, k.stop = context.WithDeadline(context.Background(), k.deadline)
	} else {
		k.ctx, k.stop = context.WithCancel(context.Background())
	}
	s.mu.Lock()
	dead := s.err != nil
	if !dead {
		s.calls[call] = k
	}
	s.mu.Unlock()
	if dead {
		k.finish()
		return nil, failure{code: Internal} // nobody will read it
	}
	if spec.Kind == Upload {
		k.ready()
	}
	return k, failure{}
}

// data takes a part of the request.
func (k *served) data(r *frameReader, h header) error {
	s := k.s
	grant, err := k.in.read(r, h.end, k.book)
	if code, ok := err.(Code); ok {
		k.fail(failure{code: code})
		return nil // what is left of the request is skipped
	}
	if err != nil {
		return err
	}
	k.requested = h.end
	switch {
	case grant > 0:
		s.out.grant(k.out.call, grant)
	case h.end && s.m.spec.Kind != Upload:
		k.ready()
	}
	return nil
}

// book takes the place of a request among all that is held.
func (k *served) book(size int) error {
	d := k.s.e.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	if k.s.m.spec.Kind == Upload {
		return nil // flow control bounds it
	}
	if k.stage != receiving || !d.quota.fits(k.s.from, size) {
		return Busy
	}
	d.quota.book(k.s.from, size)
	k.booked += size
	return nil
}

// ready has the call handled, at once or when its turn comes.
func (k *served) ready() {
	switch v, after := k.s.e.desk.ready(k); v {
	case runs:
		k.start()
	case refused:
		k.fail(failure{code: Busy, after: after})
	}
}

// start runs the handler.
func (k *served) start() { k.s.e.wg.Go(k.run) }

func (k *served) run() {
	k.began = time.Now()
	k.s.m.counters.labels.Apply()
	returned := false
	defer func() {
		if v := recover(); v != nil || !returned {
			k.s.e.panicked(k.s.m, v)
			k.returned()
			k.fail(failure{code: Internal})
		}
	}()
	obs.Callback(k.handle)
	returned = true
}

func (k *served) handle() {
	h := k.s.m.handler.Load()
	switch {
	case k.ctx.Err() != nil:
		k.close(context.DeadlineExceeded)
	case h == nil:
		k.close(Unsupported) // the program stopped to serve it just now
	case k.s.e.desk.full(k.s.from):
		k.close(Busy) // answers that the peer does not take came to be too much while it waited
	case k.s.m.spec.Kind == Stream:
		req, _, _, _ := k.in.poll()
		k.close(k.answers(h, req))
	case k.s.m.spec.Kind == Upload:
		answer, err := h.Upload(k.ctx, k.s.from, k.requests)
		k.answer(answer, err)
	default:
		req, _, _, _ := k.in.poll()
		answer, err := h.Unary(k.ctx, k.s.from, req)
		k.answer(answer, err)
	}
}

// requests yields what the caller sends.
func (k *served) requests(yield func([]byte, error) bool) {
	for {
		req, grant, ok, err := k.in.next(k.ctx, k.s.m.spec.Deadline)
		if err != nil || !ok {
			if err != nil {
				yield(nil, err)
			}
			return
		}
		if grant > 0 {
			k.s.out.grant(k.out.call, grant)
		}
		if !yield(req, nil) {
			return
		}
	}
}

// answers sends what the handler yields, each when the one before has been taken.
func (k *served) answers(h *Handler, req []byte) error {
	m := k.s.m
	sent := make(chan struct{}, 1)
	var w wait
	defer w.stop()
	for answer, err := range h.Stream(k.ctx, k.s.from, req) {
		if err != nil {
			return err
		}
		if err := m.fits(answer); err != nil {
			return err
		}
		m.counters.bytesOut.Inc(int64(len(answer)))
		k.s.out.send(&k.out, answer, false, func() { sent <- struct{}{} })
		// Its time begins with each answer: the handler may have taken long.
		w.stop()
		w.timer = nil
		if err := w.until(k.ctx, sent, m.spec.Deadline, func() int64 { return k.s.out.progress(&k.out) }); err != nil {
			k.stop()
			return err
		}
	}
	return nil
}

// answer sends the only answer of a call, or its error.
func (k *served) answer(answer []byte, err error) {
	if err == nil {
		err = k.s.m.fits(answer)
	}
	if err != nil {
		k.close(err)
		return
	}
	m := k.s.m
	m.counters.bytesOut.Inc(int64(len(answer)))
	m.counters.answered.Inc(1)
	k.returned()
	k.s.e.desk.answering(k, len(answer))
	k.s.out.send(&k.out, answer, true, k.finish)
}

// close ends a call whose handler has returned, with an error or without.
func (k *served) close(err error) {
	k.returned()
	if err == nil {
		k.s.m.counters.answered.Inc(1)
		k.s.out.sendEnd(&k.out)
		k.finish()
		return
	}
	code, after, text := refusal(err)
	if code == Internal && !k.gone.Load() {
		k.s.e.obs.WarnLimited(component, "handler/"+k.s.m.spec.Name, logrus.Fields{
			"method": k.s.m.spec.Name, "peer": k.s.from.String(), "error": obs.Clean(err.Error()),
		}, "a request was answered with an internal error")
	}
	k.fail(failure{code, after, text})
}

// returned gives the handler's place to the next call.
func (k *served) returned() {
	took := time.Since(k.began)
	k.s.m.counters.served(took)
	if next := k.s.e.desk.returned(k, took); next != nil {
		next.start()
	}
}

// fail answers a call with an error, unless nobody waits for it.
func (k *served) fail(f failure) {
	if k.gone.Load() {
		k.s.out.drop(&k.out)
	} else {
		k.s.m.counters.refused(f.code)
		k.s.out.fail(&k.out, appendFailure(nil, f))
	}
	k.finish()
}

// cancel ends a call for which nobody waits any more. A handler that runs is told,
// and ends the call when it returns.
func (k *served) cancel(why error) {
	k.gone.Store(true)
	k.stop()
	k.in.end(why)
	if k.s.e.desk.withdraw(k) {
		k.s.m.counters.cancelled.Inc(1)
		k.s.out.drop(&k.out)
		k.finish()
	} else {
		k.s.out.drop(&k.out) // a handler that waits for room to answer goes on
	}
}

// expire ends a call whose time passed before it had a handler.
func (k *served) expire(now time.Time) {
	if !k.deadline.IsZero() && now.After(k.deadline) && k.s.e.desk.withdraw(k) {
		k.fail(failure{code: Timeout})
	}
}

// finish forgets a call. It may be called twice.
func (k *served) finish() {
	k.stop()
	if !k.s.e.desk.finish(k) {
		return
	}
	k.s.mu.Lock()
	delete(k.s.calls, k.out.call)
	k.s.mu.Unlock()
}
