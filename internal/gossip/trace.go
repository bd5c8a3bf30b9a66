package gossip

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
)

// Step is one thing that happens to a message on its way.
type Step uint8

// The steps.
const (
	// StepPublished: this node made it. StepReceived: a peer sent it. StepCopy: a
	// peer sent one more; of the message nothing but type and ID is told.
	StepPublished Step = iota
	StepReceived
	StepCopy
	// StepValidated: the validator's verdict is the detail. StepTurnedAway: it may come
	// again, why is the detail.
	StepValidated
	StepTurnedAway
	// StepSent: the queue of a peer took it. StepDropped: it did not, or lost it.
	StepSent
	StepDropped
)

// Trace is told of steps, by several goroutines and under the engine's lock: it must
// be quick and wait for nothing.
type Trace func(m Message, what Step, p peer.ID, detail string)

// SetTrace has f told of every step of every message from now on, until it is nil.
// Before, and after nil, a step costs one look at a pointer.
func (e *Engine) SetTrace(f Trace) {
	if f == nil {
		e.trace.Store(nil)
		return
	}
	e.trace.Store(&f)
}

// traceEvent tells of what comes to the router.
func (e *Engine) traceEvent(f Trace, ev router.Event) {
	tell := func(m *router.Message, what Step, p peer.ID, detail string) {
		if t := e.byName(m.Topic); t != nil {
			f(e.message(t, m), what, p, detail)
		}
	}
	switch ev.Kind {
	case router.Publish:
		tell(ev.Msg, StepPublished, "", "")
	case router.Received:
		tell(ev.Msg, StepReceived, ev.Msg.From, "")
	case router.Dropped:
		tell(ev.Msg, StepDropped, ev.Peer, "")
	case router.Copy:
		if t := e.byName(ev.Topic); t != nil && len(ev.ID) > 0 {
			f(Message{ID: string(ev.ID), Type: t.Type, Topic: t.Name, From: ev.Peer}, StepCopy, ev.Peer, "")
		}
	case router.Validated:
		switch ev.Verdict.Action {
		case router.TurnAway:
			tell(ev.Msg, StepTurnedAway, "", ev.Verdict.Reason)
		case router.BadSigned:
			tell(ev.Msg, StepValidated, "", "bad signature")
		}
	}
}
