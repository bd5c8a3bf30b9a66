package dispatcher

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// meters carries totals over to the metrics registry, where dispatchers may share
// counters. That happens with every tick, so that counting costs nothing per message.
type meters struct {
	obs  *obs.Obs
	last map[string]uint64 // what the counters have got, by name
}

// meter brings the metrics up to date. The loop calls it, and Stop when the loop has
// ended.
func (d *Dispatcher) meter() {
	s := d.Stats()
	m := &d.meters
	waiting := s.Total.Queued
	for _, sub := range s.Subscribers {
		waiting += sub.Queued
	}
	d.obs.Gauge(obs.DispatcherCached).Update(int64(waiting))
	m.count(obs.DispatcherReceived, s.Total.Received)
	m.count(obs.DispatcherDelivered, s.Total.Delivered)
	m.count(obs.DispatcherDuplicate, s.Total.Duplicate)
	m.count(obs.DispatcherUnrouted, s.Total.Unrouted)
	m.count(obs.DispatcherPanics, s.Panics)
	for reason, n := range s.Total.Dropped {
		m.count(obs.DispatcherDropped+string(reason), n)
	}
	for typ, t := range s.Types {
		m.countType(typ, t)
	}
	m.countType(obs.OtherType, s.Other)
}

func (m *meters) countType(typ string, t TypeStats) {
	m.count(obs.DispatcherReceived+"."+typ, t.Received)
	m.count(obs.DispatcherDelivered+"."+typ, t.Delivered)
	m.count(obs.DispatcherDuplicate+"."+typ, t.Duplicate)
	m.count(obs.DispatcherUnrouted+"."+typ, t.Unrouted)
	m.count(obs.DispatcherLost+"."+typ, t.DroppedTotal())
}

func (m *meters) count(name string, total uint64) {
	m.obs.Counter(name).Inc(int64(total - m.last[name]))
	m.last[name] = total
}

// How long messages wait is measured of one message a tick and type: a time for
// each of them would cost more than the rest of its way. The sample is marked when
// it is admitted, and its wait ends when the subscriber has it: in its channel, or
// in the hands of the goroutine behind its queue.

// sample is the message of a topic whose wait is measured. It is guarded by the
// topic's mutex.
type sample struct {
	wanted bool      // set by the tick: the next message is the one
	at     time.Time // when it was admitted; zero without one
	seq    uint64    // its position
}

// markLocked makes the message that has just been admitted the sample.
func (s *sample) markLocked(seq uint64) { *s = sample{at: time.Now(), seq: seq} }

// takeLocked takes the sample if it is among the next n messages from first on, and
// tells which one it is.
func (s *sample) takeLocked(first uint64, n int) (at time.Time, index int) {
	if s.at.IsZero() || s.seq-first >= uint64(n) {
		return time.Time{}, 0
	}
	at, index = s.at, int(s.seq-first)
	*s = sample{}
	return at, index
}

// waiting is a sample in the queue of a subscription. It is guarded by the
// subscription's mutex.
type waiting struct {
	at  time.Time // zero without one
	end uint64    // first position of the queue that is behind it
}

// sampleLocked notes that the sample was offered: its wait ends now, or when the
// queue has come as far as it is now. Messages of the same block that came after it
// are taken for a part of it.
func (s *subscription) sampleLocked(at time.Time) {
	switch {
	case s.queue.n == 0:
		s.topic.waited(at)
	case s.waiting.at.IsZero():
		s.waiting = waiting{at, s.queue.first + uint64(s.queue.n)}
	}
}

// waitedLocked ends the wait of the sample when it has been taken from the queue.
func (s *subscription) waitedLocked() {
	if s.queue.first >= s.waiting.end || s.queue.n == 0 {
		s.topic.waited(s.waiting.at)
		s.waiting = waiting{}
	}
}

func (t *topic) waited(since time.Time) {
	t.wait.Update(time.Since(since).Microseconds())
}

// Outcome says what became of a message with the subscribers of its type.
type Outcome string

// The outcomes. Of several subscribers the best one counts.
const (
	OutcomeDelivered Outcome = "delivered"
	OutcomeDuplicate Outcome = "duplicate" // every subscriber had it
	OutcomeFull      Outcome = "subscriber full"
	OutcomePanic     Outcome = "panic"
	OutcomeUnrouted  Outcome = "no subscriber"
)

// outcomes are those of the loop.
var outcomes = [fates]Outcome{
	fateDelivered: OutcomeDelivered,
	fatePanic:     OutcomePanic,
	fateFull:      OutcomeFull,
	fateDuplicate: OutcomeDuplicate,
	fateUnrouted:  OutcomeUnrouted,
}

// Trace has f told what became of every message that is offered to subscribers
// from now on, until it is nil. Delivered means that the queue or channel of a
// subscriber took it. The loop calls f, so it must be quick and wait for nothing;
// it may be called once more while Trace returns. A message that is not admitted is
// the error of PutMessage, and not heard of here.
func (d *Dispatcher) Trace(f func(m Message, o Outcome)) {
	if f == nil {
		d.trace.Store(nil)
		return
	}
	d.trace.Store(&f)
}

// tell tells what became of the messages of a block.
func (b *block) tell(trace func(m Message, o Outcome)) {
	for i := range b.items {
		trace(b.items[i].msg, outcomes[b.flags[i].fate()])
	}
}
