package reqresp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// call is one call for its caller.
type call struct {
	c   *caller
	out outgoing // the request, or requests
	in  incoming // the answer, or answers
}

// Call asks a peer and returns its answer; the method is Unary. It waits until
// ctx ends or, where that has no deadline, nothing of the answer has come for
// Spec.Deadline. req is not changed, and is the caller's again afterwards.
// Errors: *Error, *TransportError, the cause of ctx.
func (e *Engine) Call(ctx context.Context, p peer.ID, spec *Spec, req []byte) ([]byte, error) {
	m := e.method(spec)
	began := time.Now()
	k, leave, err := e.begin(ctx, p, m, Unary, req)
	if err != nil {
		return nil, e.made(ctx, p, m, began, 0, err)
	}
	defer leave()
	answer, err := k.one(ctx, m)
	return answer, e.made(ctx, p, m, began, len(answer), err)
}

// one waits for the only answer of a call.
func (k *call) one(ctx context.Context, m *method) ([]byte, error) {
	idle := m.spec.Deadline
	if d, ok := ctx.Deadline(); ok {
		idle = max(idle, time.Until(d))
	}
	answer, _, ok, err := k.in.next(ctx, idle)
	if err != nil {
		return nil, k.gaveUp(err)
	}
	if !ok {
		return nil, &TransportError{Peer: k.c.key.peer, Method: k.c.key.method, Err: ErrNoAnswer}
	}
	// A stream of answers is none to this call: what follows the first is the end.
	if _, _, ok, err = k.in.next(ctx, idle); err != nil || ok {
		if ok {
			err = FaultOrder
		}
		return nil, k.gaveUp(err)
	}
	return answer, nil
}

// gaveUp cancels a call that has not ended by itself, and names the call in the
// error of a deadline.
func (k *call) gaveUp(err error) error {
	k.c.remove(k, true)
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*TransportError](err); ok {
		return err
	}
	return &TransportError{Peer: k.c.key.peer, Method: k.c.key.method, Err: err}
}

// Stream asks a peer and yields its answers as they come; the method is Stream.
// Ending the loop cancels the handler. The loop ends with ctx, and when nothing
// has come for Spec.Deadline. An error is the last thing that is yielded; those
// of Call.
func (e *Engine) Stream(ctx context.Context, p peer.ID, spec *Spec, req []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		m := e.method(spec)
		began := time.Now()
		k, leave, err := e.begin(ctx, p, m, Stream, req)
		if err != nil {
			yield(nil, e.made(ctx, p, m, began, 0, err))
			return
		}
		defer leave()
		bytes := 0
		for {
			answer, grant, ok, err := k.in.next(ctx, m.spec.Deadline)
			if err != nil {
				yield(nil, e.made(ctx, p, m, began, bytes, k.gaveUp(err)))
				return
			}
			if !ok {
				e.made(ctx, p, m, began, bytes, nil)
				return
			}
			if grant > 0 {
				k.c.out.grant(k.out.call, grant)
			}
			bytes += len(answer)
			if !yield(answer, nil) {
				k.c.remove(k, true)
				e.made(ctx, p, m, began, bytes, nil)
				return
			}
		}
	}
}

// Upload sends a peer requests and returns its answer; the method is Upload. An
// error among the requests ends the call and is returned. The peer may answer
// before it has seen them all: then the rest is not asked for. Errors: also those
// of Call.
func (e *Engine) Upload(ctx context.Context, p peer.ID, spec *Spec, reqs iter.Seq2[[]byte, error]) ([]byte, error) {
	m := e.method(spec)
	began := time.Now()
	k, leave, err := e.begin(ctx, p, m, Upload, nil)
	if err != nil {
		return nil, e.made(ctx, p, m, began, 0, err)
	}
	defer leave()
	for req, err := range reqs {
		if err != nil {
			k.c.remove(k, true)
			return nil, err
		}
		if done, err := k.upload(ctx, m, req); err != nil {
			return nil, e.made(ctx, p, m, began, 0, k.gaveUp(err))
		} else if done {
			break
		}
	}
	k.c.out.sendEnd(&k.out)
	answer, err := k.one(ctx, m)
	return answer, e.made(ctx, p, m, began, len(answer), err)
}

// upload sends one request. done says that the peer has answered.
func (k *call) upload(ctx context.Context, m *method, req []byte) (done bool, err error) {
	if len(req) > m.spec.MaxRequest {
		return false, k.c.e.requestTooLarge(k.c.key, m, len(req))
	}
	k.in.mu.Lock()
	done = k.in.ended
	k.in.mu.Unlock()
	if done {
		return true, nil
	}
	sent := make(chan struct{}, 1)
	k.c.out.send(&k.out, req, false, func() { sent <- struct{}{} })
	var w wait
	defer w.stop()
	return false, w.until(ctx, sent, m.spec.Deadline, func() int64 { return k.c.out.progress(&k.out) })
}

// begin makes a call, with its place among those under way, which leave gives
// back. req is the only request, but for those to be uploaded.
func (e *Engine) begin(ctx context.Context, p peer.ID, m *method, kind Kind, req []byte) (k *call, leave func(), err error) {
	key := callerKey{peer: p, method: m.spec.Name}
	if m.bad != nil {
		return nil, nil, m.bad
	}
	if m.spec.Kind != kind {
		return nil, nil, e.localError(key, Unsupported, "the method is declared as "+m.spec.Kind.String())
	}
	if len(req) > m.spec.MaxRequest {
		return nil, nil, e.requestTooLarge(key, m, len(req))
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, &TransportError{Peer: p, Method: m.spec.Name, Unsent: true, Err: context.Cause(ctx)}
	}
	if !e.enterCall(p) {
		return nil, nil, e.localError(key, Busy, fmt.Sprintf("too many calls of this node under way, at most %d, and %d to one peer", e.cfg.MaxCalls, e.cfg.MaxCallsPerPeer))
	}
	leave = func() { e.leaveCall(p) }
	t := terms{deadline: m.spec.Deadline}
	if d, ok := ctx.Deadline(); ok {
		t.deadline = max(time.Until(d), time.Millisecond)
	} else if kind != Unary {
		t.deadline = 0
	}
	k = new(call)
	k.out.credit = -1
	switch kind {
	case Stream:
		t.window = m.spec.Window
	case Upload:
		k.out.credit = uploadWindow
	}
	k.in.init(m.spec.MaxAnswer, t.window)
	for {
		c, err := e.caller(key, kind)
		if err == nil {
			if c.open(k, t, req, kind != Upload) {
				return k, leave, nil
			}
			e.forget(c) // it ended just now: idle, or lost
			continue
		}
		leave()
		if _, ok := err.(*Error); ok {
			return nil, nil, err
		}
		return nil, nil, &TransportError{Peer: p, Method: m.spec.Name, Unsent: true, Err: err}
	}
}

// made accounts for a call and returns its error.
func (e *Engine) made(ctx context.Context, p peer.ID, m *method, began time.Time, bytes int, err error) error {
	took := time.Since(began)
	m.made(took, bytes, err)
	if ctx.Err() != context.Canceled { // a call that was given up says nothing about the peer
		e.known.note(callerKey{p, m.spec.Name}, took, err)
		e.cfg.Report(p, Outcome{Method: m.spec.Name, Took: took, Bytes: bytes, Err: err})
	}
	return err
}

// callQuota is the calls of this node that are under way.
type callQuota struct {
	mu   sync.Mutex
	all  int
	each map[peer.ID]int
}

func (e *Engine) enterCall(p peer.ID) bool {
	q := &e.making
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all >= e.cfg.MaxCalls || q.each[p] >= e.cfg.MaxCallsPerPeer {
		return false
	}
	q.all++
	q.each[p]++
	return true
}

func (e *Engine) leaveCall(p peer.ID) {
	q := &e.making
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all--
	if q.each[p]--; q.each[p] == 0 {
		delete(q.each, p)
	}
}
