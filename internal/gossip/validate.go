package gossip

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// validateAll has messages validated, each in a goroutine.
func (e *Engine) validateAll(out *outcome) {
	for _, m := range out.validate {
		e.spawn(e.calls, func() { e.validateOn(m, true) })
	}
	for _, m := range out.validateNow {
		e.spawn(e.calls, func() { e.validateOn(m, false) })
	}
}

// validateOn validates a message, and then those that get its slot.
func (e *Engine) validateOn(m *router.Message, wait bool) {
	for m != nil {
		v := e.validate(m, wait)
		var out outcome
		e.mu.Lock()
		e.stepLocked(router.Event{Kind: router.Validated, Msg: m, Verdict: v}, &out)
		e.unlock()
		m = nil
		if len(out.validate) > 0 && e.work.Err() == nil {
			m, wait = out.validate[0], true
			out.validate = out.validate[1:]
		}
		e.validateAll(&out)
	}
}

// validate verifies one message of a peer, asks its validator and delivers it. If it
// may wait, it does so until the type's deadline.
func (e *Engine) validate(m *router.Message, wait bool) router.Verdict {
	t := e.byName(m.Topic)
	if t == nil {
		return router.Verdict{Action: router.Ignore}
	}
	if m.Wire != nil {
		if e.keys.verify(m.Wire) != nil {
			return router.Verdict{Action: router.BadSigned}
		}
		m.Wire = nil // once is enough, also for one that waits or is deferred now
	}
	ctx := e.work
	if wait {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.set().Deadline)
		defer cancel()
	}
	out := e.message(t, m)
	t.n.labels.Apply()
	v := e.ask(ctx, t, out)
	if trace := e.trace.Load(); trace != nil {
		(*trace)(out, StepValidated, "", v.String())
	}
	switch v.action {
	case actAccept:
	case actReject:
		return router.Verdict{Action: router.Reject}
	case actDefer:
		return router.Verdict{Action: router.Defer, Key: v.key}
	default:
		if ctx.Err() != nil {
			// No verdict, but a validator that gave up.
			return router.Verdict{Action: router.TurnAway, Reason: awayTimeout}
		}
		return router.Verdict{Action: router.Ignore}
	}
	if err := e.handOver(ctx, t, out, wait); err != nil {
		if !wait && errors.Is(err, ErrFull) {
			return router.Verdict{Action: router.Wait}
		}
		return router.Verdict{Action: router.TurnAway, Reason: reasonOf(err)}
	}
	if t.stamps {
		if at, _, ok := openStamp(m.Data); ok {
			t.n.delay.Update(delayMicros(at, now()))
		}
	}
	return router.Verdict{Action: router.Accept}
}

// message describes a router's message to the outside.
func (e *Engine) message(t *topic, m *router.Message) Message {
	out := Message{ID: m.ID, Type: t.Type, Topic: t.Name, From: m.From, Author: m.Author, Data: m.Data, raw: m}
	if t.stamps {
		out.Data = unstamped(m.Data)
	}
	return out
}

// ask calls the user's validator. A panic is nobody's fault but the program's.
func (e *Engine) ask(ctx context.Context, t *topic, m Message) (v Verdict) {
	validate := t.set().validate
	if validate == nil {
		return Accept()
	}
	t.running.Add(1)
	defer t.running.Add(-1)
	defer func() {
		if r := recover(); r != nil {
			v = Ignore()
			e.panicked(t.Type, r, t.n.panics)
		}
	}()
	obs.Callback(func() { v = validate(ctx, m) })
	return v
}

func (e *Engine) handOver(ctx context.Context, t *topic, m Message, wait bool) (err error) {
	t.running.Add(1)
	defer t.running.Add(-1)
	defer func() {
		if r := recover(); r != nil {
			err = ErrFull
			e.panicked(t.Type, r, t.n.panics)
		}
	}()
	return e.cfg.Deliver(ctx, m, wait)
}

func (e *Engine) panicked(in string, value any, count metrics.Counter) {
	e.cfg.Obs.Panicked(obs.Panic{Component: "gossip", In: in, Value: value, Count: count})
}

// Resume validates all messages again that were deferred under key, and returns
// how many those are. A message whose validation is under way meanwhile, and
// ends in Defer(key), is validated again too.
func (e *Engine) Resume(key string) int {
	var out outcome
	e.mu.Lock()
	n := e.router.Deferred(key)
	e.stepLocked(router.Event{Kind: router.Resume, Key: key}, &out)
	e.unlock()
	e.validateAll(&out)
	return n
}

// Faults that lower a peer's score, beside those that the router finds.
const (
	faultControl = router.FaultControl
	faultFrame   = "frame"
)

// fault notes that a peer sent what no honest peer sends.
func (e *Engine) fault(p peer.ID, what string) {
	e.countFault(what)
	e.step(router.Event{Kind: router.Fault, Peer: p})
}

func (e *Engine) countFault(what string) { e.cfg.Obs.Counter(obs.GossipFaults + what).Inc(1) }

// refreshScores asks the program about its peers, and tells it their scores.
func (e *Engine) refreshScores() {
	var ids []peer.ID
	e.mu.Lock()
	for p, r := range e.peers {
		if r.access != none {
			ids = append(ids, p)
		}
	}
	e.mu.Unlock()
	var evs []router.Event
	for _, p := range ids {
		if e.cfg.AppScore != nil {
			evs = append(evs, router.Event{Kind: router.AppScore, Peer: p, Value: e.appScore(p)})
		}
		if e.cfg.Params.ColocationWeight != 0 {
			evs = append(evs, router.Event{Kind: router.Addrs, Peer: p, Names: addrsOf(e.cfg.Host.Network().ConnsToPeer(p))})
		}
	}
	e.step(evs...)
	if e.cfg.OnScore == nil {
		return
	}
	scores := make(map[peer.ID]Score, len(ids))
	e.mu.Lock()
	e.router.Scores(func(p peer.ID, score, passed float64) { scores[p] = Score{score, passed} })
	e.mu.Unlock()
	e.tellScores(scores)
}

// appScore asks the program, which says 0 if it panics.
func (e *Engine) appScore(p peer.ID) (score float64) {
	defer func() {
		if r := recover(); r != nil {
			score = 0
			e.panicked("AppScore", r, e.cfg.Obs.Counter(obs.GossipPanics))
		}
	}()
	return e.cfg.AppScore(p)
}

// recommend hands on the records of peers that others have recommended.
func (e *Engine) recommend(all []router.Effect) {
	if e.cfg.Recommended == nil || len(all) == 0 {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			e.panicked("Recommended", r, e.cfg.Obs.Counter(obs.GossipPanics))
		}
	}()
	for _, c := range all {
		records := make([][]byte, len(c.Peers))
		for i := range c.Peers {
			records[i] = c.Peers[i].Record
		}
		e.cfg.Recommended(c.Peer, records)
	}
}

func (e *Engine) tellScores(scores map[peer.ID]Score) {
	defer func() {
		if r := recover(); r != nil {
			e.panicked("OnScore", r, e.cfg.Obs.Counter(obs.GossipPanics))
		}
	}()
	e.cfg.OnScore(scores)
}

// exportCounts tells the metrics what was counted.
func (e *Engine) exportCounts() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.topics() {
		if v, ok := e.router.Topic(t.Name); ok {
			t.export(v.Counts)
		}
	}
}
