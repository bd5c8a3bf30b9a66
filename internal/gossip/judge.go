package gossip

import (
	"context"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// outcome is what became of a message.
type outcome uint8

const (
	dropped  outcome = iota // ignored, parked or turned away
	accepted                // delivered, to be forwarded
	rejected
)

// validator is what the router calls for each message of a topic, in a goroutine
// of its own unless the topic is quick.
func (l *lane) validator(t *topic) pubsub.ValidatorEx {
	return func(_ context.Context, _ peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if p, ok := m.ValidatorData.(*publication); ok {
			return l.judgeOwn(t, m, p)
		}
		if !l.e.calls.enter() {
			return pubsub.ValidationIgnore
		}
		defer l.e.calls.leave()
		if t.missed.hold(m.ID, noSum) {
			defer t.missed.release(m.ID)
		}
		switch l.judge(t, l.message(t, m), m, false) {
		case accepted:
			if !t.set().ExplicitRelay {
				t.said(m.ID)
				return pubsub.ValidationAccept
			}
		case rejected:
			return pubsub.ValidationReject
		}
		return pubsub.ValidationIgnore
	}
}

// message describes a router's message to the outside.
func (l *lane) message(t *topic, m *pubsub.Message) Message {
	out := Message{
		ID: m.ID, Type: t.Type, Topic: t.Name,
		From: m.ReceivedFrom, Author: m.GetFrom(), Data: m.Data,
		raw: &raw{msg: m},
	}
	if t.stamps {
		out.Data = unstamped(m.Data)
	}
	return out
}

// judge validates and delivers one message of a peer. admitted says that it has
// a slot.
func (l *lane) judge(t *topic, m Message, pm *pubsub.Message, admitted bool) outcome {
	s := t.set()
	if len(m.Data) > s.MaxSize {
		t.n.rejected.Inc(1)
		return rejected
	}
	ctx := l.e.work
	if !s.quick() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Deadline)
		defer cancel()
		if !admitted {
			if reason := s.enter(ctx); reason != "" {
				l.turnAway(t, pm, reason)
				return dropped
			}
			defer s.leave()
		}
	}
	began := l.e.epoch()
	v := l.e.ask(ctx, t, m)
	switch v.action {
	case actAccept:
		return l.deliver(ctx, t, m, pm)
	case actReject:
		t.n.rejected.Inc(1)
		return rejected
	case actDefer:
		l.park(t, m, pm, v.key, began)
	default:
		if ctx.Err() != nil {
			// No verdict, but a validator that gave up.
			l.turnAway(t, pm, awayTimeout)
		} else {
			t.n.ignored.Inc(1)
		}
	}
	return dropped
}

// enter waits for a slot. It returns the reason if there is none.
func (s *settings) enter(ctx context.Context) string {
	select {
	case s.slots <- struct{}{}:
		return ""
	default:
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > int64(s.Queue) {
		return awayOverload
	}
	select {
	case s.slots <- struct{}{}:
		return ""
	case <-ctx.Done():
		return awayTimeout
	}
}

func (s *settings) leave() { <-s.slots }

// ask calls the user's validator. A panic is nobody's fault but the program's.
func (e *Engine) ask(ctx context.Context, t *topic, m Message) (v Verdict) {
	validate := t.set().Validate
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
	return validate(ctx, m)
}

// deliver hands a valid message over.
func (l *lane) deliver(ctx context.Context, t *topic, m Message, pm *pubsub.Message) outcome {
	if err := l.e.handOver(ctx, t, m); err != nil {
		l.turnAway(t, pm, reasonOf(err))
		return dropped
	}
	t.n.delivered.Inc(1)
	if t.stamps {
		if at, _, ok := openStamp(pm.Data); ok {
			t.n.delay.Update(delayMicros(at, now()))
		}
	}
	return accepted
}

func (e *Engine) handOver(ctx context.Context, t *topic, m Message) (err error) {
	t.running.Add(1)
	defer t.running.Add(-1)
	defer func() {
		if r := recover(); r != nil {
			err = ErrFull
			e.panicked(t.Type, r, t.n.panics)
		}
	}()
	return e.cfg.Deliver(ctx, m, t.set().OnFull == WaitWhenFull)
}

func (e *Engine) panicked(in string, value any, count metrics.Counter) {
	e.cfg.Obs.Panicked(obs.Panic{Component: "gossip", In: in, Value: value, Count: count})
}

// turnAway drops a message in such a way that it can come again.
func (l *lane) turnAway(t *topic, m *pubsub.Message, reason string) {
	t.n.away[reason].Inc(1)
	t.away.add(m.ID, sumOf(m), now(), m.ReceivedFrom, t.missed.holders(m.ID)...)
}

// room is how many more messages of the type can be taken in now.
func (t *topic) room() int {
	s := t.set()
	return cap(s.slots) - len(s.slots) + s.Queue - int(s.waiting.Load())
}

// askForAway asks senders again for messages that were turned away, as many as
// there is room for. In a network so small that all are in the mesh, nobody
// would announce them.
func (l *lane) askForAway(t *topic) {
	p := &l.e.cfg.Params
	// Senders keep messages for a little longer than this.
	window := time.Duration(p.HistoryLength-1) * p.Heartbeat
	room := min(maxAsk, t.room())
	due := make(map[peer.ID][]string)
	for _, a := range []*away{t.away, t.missed} {
		for p, ids := range a.due(room, now(), window) {
			due[p] = append(due[p], ids...)
			room -= len(ids)
		}
	}
	if len(due) == 0 {
		return
	}
	_ = l.do(l.e.work, func() {
		for p, ids := range due {
			l.rt.SendControl(p, &pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: ids}}})
		}
	})
}

// retake takes a message that was turned away and has come again.
func (l *lane) retake(t *topic, m *pubsub.Message) bool {
	return l.e.spawn(func() {
		defer t.away.release(m.ID)
		l.again(t, l.message(t, m), m, false)
	})
}

// again judges a message outside of the router, which has forgotten about it,
// and does with it what the router would.
func (l *lane) again(t *topic, m Message, pm *pubsub.Message, admitted bool) {
	switch l.judge(t, m, pm, admitted) {
	case accepted:
		_ = l.ps.PeerFeedback(t.Name, m.From, pubsub.PeerFeedbackUsefulMessage)
		if !t.set().ExplicitRelay {
			_, _ = l.forward(l.e.work, t, pm)
		}
	case rejected:
		_ = l.ps.PeerFeedback(t.Name, m.From, pubsub.PeerFeedbackInvalidMessage)
	}
}
