package netservice

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
)

// Bounds of what tracing keeps.
const (
	// MaxTraces is how many messages are kept, the latest ones.
	MaxTraces = 10_000
	// MaxTraceSteps is how many steps of each are, the earliest ones.
	MaxTraceSteps = 64
)

// MessageTrace is the way of one message through this node.
type MessageTrace struct {
	Type  string
	Hash  string // of type and content, see dispatcher.HashOf
	Size  int    // bytes of content
	Steps []TraceStep
	// Omitted counts steps that were not kept, beyond MaxTraceSteps.
	Omitted int
}

// TraceStep is one thing that happened to a message.
type TraceStep struct {
	At     time.Time
	What   TraceEvent
	Peer   peer.ID // the other node, empty where none is concerned
	Detail string  // see TraceEvent
}

// TraceEvent says what happened to a message.
type TraceEvent string

// The events.
const (
	TraceReceived   TraceEvent = "received"          // from Peer; "broadcast" or "direct"
	TraceCopy       TraceEvent = "received again"    // from Peer
	TracePublished  TraceEvent = "published"         // by this node
	TraceValidated  TraceEvent = "validated"         // with the verdict
	TraceTurnedAway TraceEvent = "turned away"       // why; it may come again
	TraceDispatched TraceEvent = "dispatched"        // a dispatcher.Outcome
	TraceSent       TraceEvent = "passed on"         // to Peer, whose queue took it; "broadcast" or "direct"
	TraceDropped    TraceEvent = "lost on its way"   // to Peer: its queue was full, or its stream ended
	TraceUnsent     TraceEvent = "could not be sent" // to Peer; why
)

// traceKey names a message.
type traceKey struct{ msgType, hash string }

// tracer keeps the ways of messages.
type tracer struct {
	types map[string]bool // nil: all

	mu     sync.Mutex // guards what follows
	ring   []*traced  // the latest, from next on the oldest once it is full
	next   int
	byHash map[traceKey]*traced
	byID   map[string]*traced // by the ID that gossip gave it
}

type traced struct {
	MessageTrace
	id string
}

func newTracer(types []string) *tracer {
	t := &tracer{byHash: make(map[traceKey]*traced), byID: make(map[string]*traced)}
	if len(types) > 0 {
		t.types = make(map[string]bool, len(types))
		for _, name := range types {
			t.types[name] = true
		}
	}
	return t
}

func (t *tracer) wants(msgType string) bool { return t.types == nil || t.types[msgType] }

// note adds a step to the way of a message, which may be its first.
func (t *tracer) note(msgType string, data []byte, hash, id string, step TraceStep) {
	step.At = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byID[id]
	if m == nil {
		if hash == "" {
			hash = dispatcher.HashOf(msgType, data)
		}
		key := traceKey{msgType, hash}
		if m = t.byHash[key]; m == nil {
			m = &traced{MessageTrace: MessageTrace{Type: msgType, Hash: hash, Size: len(data)}}
			t.keepLocked(key, m)
		}
		if id != "" && m.id == "" {
			m.id = id
			t.byID[id] = m
		}
	}
	if len(m.Steps) < MaxTraceSteps {
		m.Steps = append(m.Steps, step)
	} else {
		m.Omitted++
	}
}

// keepLocked makes room for a new message in the place of the oldest.
func (t *tracer) keepLocked(key traceKey, m *traced) {
	t.byHash[key] = m
	if len(t.ring) < MaxTraces {
		t.ring = append(t.ring, m)
		return
	}
	old := t.ring[t.next]
	delete(t.byHash, traceKey{old.Type, old.Hash})
	delete(t.byID, old.id)
	t.ring[t.next] = m
	t.next = (t.next + 1) % MaxTraces
}

// copied adds a step to the way of a message of which there is but a name.
func (t *tracer) copied(id string, from peer.ID) {
	t.mu.Lock()
	m := t.byID[id]
	t.mu.Unlock()
	if m != nil {
		t.note(m.Type, nil, m.Hash, id, TraceStep{What: TraceCopy, Peer: from})
	}
}

// ofGossip takes the steps of broadcasts.
func (t *tracer) ofGossip(m gossip.Message, what gossip.Step, p peer.ID, detail string) {
	if !t.wants(m.Type) {
		return
	}
	step := TraceStep{Peer: p, Detail: detail}
	switch what {
	case gossip.StepCopy:
		t.copied(m.ID, p)
		return
	case gossip.StepReceived:
		step.What, step.Detail = TraceReceived, traceBroadcast
	case gossip.StepPublished:
		step.What = TracePublished
	case gossip.StepValidated:
		step.What = TraceValidated
	case gossip.StepTurnedAway:
		step.What = TraceTurnedAway
	case gossip.StepSent:
		step.What, step.Detail = TraceSent, traceBroadcast
	case gossip.StepDropped:
		step.What = TraceDropped
	}
	t.note(m.Type, m.Data, "", m.ID, step)
}

// Details of steps.
const (
	traceBroadcast = "broadcast"
	traceDirect    = "direct"
)

// ofDispatcher takes what became of messages with the subscribers.
func (t *tracer) ofDispatcher(m dispatcher.Message, o dispatcher.Outcome) {
	if msgType := m.MessageType(); t.wants(msgType) {
		t.note(msgType, m.Data(), "", "", TraceStep{What: TraceDispatched, Detail: string(o)})
	}
}

// ofMessage takes a step of a message that did not go by gossip.
func (t *tracer) ofMessage(msgType string, data []byte, step TraceStep) {
	if t.wants(msgType) {
		t.note(msgType, data, "", "", step)
	}
}

// sent takes the outcome of a message sent to one peer.
func (t *tracer) sent(to peer.ID, msgType string, data []byte, err error) {
	step := TraceStep{What: TraceSent, Peer: to, Detail: traceDirect}
	if err != nil {
		step.What, step.Detail = TraceUnsent, err.Error()
	}
	t.ofMessage(msgType, data, step)
}

func (m *traced) clone() MessageTrace {
	out := m.MessageTrace
	out.Steps = slices.Clone(m.Steps)
	return out
}

func (t *tracer) find(msgType, hash string) (MessageTrace, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byHash[traceKey{msgType, hash}]
	if m == nil {
		return MessageTrace{}, false
	}
	return m.clone(), true
}

// latest returns up to n ways, the newest first.
func (t *tracer) latest(n int) (list []MessageTrace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range min(n, len(t.ring)) {
		at := (t.next - 1 - i + 2*len(t.ring)) % len(t.ring)
		list = append(list, t.ring[at].clone())
	}
	return list
}

// StartTracing keeps the ways of messages through this node from now on, of the
// given types, or of all: where each came from, when it was validated, what the
// dispatcher did with it, and to whom it was passed on. At most MaxTraces messages
// are kept. It may be called before Start, and again for other types, which forgets
// what was kept. Tracing is off at first and costs nothing then; while it is on, each
// step costs a hash of the message (dispatcher.HashOf) and some memory, at most
// 50 MB in all.
func (s *NebService) StartTracing(types ...string) { s.node.setTracer(newTracer(types)) }

// StopTracing ends it, and forgets what was kept.
func (s *NebService) StopTracing() { s.node.setTracer(nil) }

// Trace returns the way of a message so far, by its type and hash
// (dispatcher.HashOf). ok is false where it is not among those that were kept, or
// tracing is off.
func (s *NebService) Trace(msgType, hash string) (trace MessageTrace, ok bool) {
	t := s.node.tracer.Load()
	if t == nil {
		return MessageTrace{}, false
	}
	return t.find(msgType, hash)
}

// Traces returns the latest ways, at most n, the newest first.
func (s *NebService) Traces(n int) []MessageTrace {
	t := s.node.tracer.Load()
	if t == nil || n <= 0 {
		return nil
	}
	return t.latest(n)
}

// setTracer has a tracer told of everything, or nobody.
func (n *Node) setTracer(t *tracer) {
	n.tracing.Lock()
	defer n.tracing.Unlock()
	n.tracer.Store(t)
	n.bindTracerLocked()
}

// bindTracerLocked tells the engines whom to tell. Gossip's may not be there yet.
func (n *Node) bindTracerLocked() {
	var ofGossip gossip.Trace
	var ofDispatcher func(dispatcher.Message, dispatcher.Outcome)
	if t := n.tracer.Load(); t != nil {
		ofGossip, ofDispatcher = t.ofGossip, t.ofDispatcher
	}
	n.dispatch.Trace(ofDispatcher)
	if n.gossip != nil {
		n.gossip.SetTrace(ofGossip)
	}
}
