package session

import (
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/rcrowley/go-metrics"
)

// messageType is a message type that is known here or was, and what is counted
// of it. There is one for each name, for as long as the engine lives.
type messageType struct {
	name   string
	index  int    // where sessions keep its queue
	number uint32 // under which it is offered
	now    atomic.Pointer[settings]
	// largest is the highest maximum that was ever declared: a peer that has not
	// heard of a lower one breaks no rule.
	largest    atomic.Int64
	delivering atomic.Int32 // Deliver callbacks under way
	labels     obs.Labels   // of its readers and writers

	total                                    *totals
	packetsIn, packetsOut, bytesIn, bytesOut metrics.Counter
}

// settings are what is declared of a type. They are replaced as a whole; nil
// once the type has been removed.
type settings struct {
	spec    msgtype.Spec
	receive bool
}

// totals are the metrics over all types.
type totals struct {
	packetsIn, packetsOut, bytesIn, bytesOut metrics.Counter
	panics, errors                           metrics.Counter
	queue                                    metrics.Gauge
	rtt                                      metrics.Histogram
}

func newTotals(o *obs.Obs) *totals {
	return &totals{
		packetsIn:  o.Counter(obs.PacketsIn),
		packetsOut: o.Counter(obs.PacketsOut),
		bytesIn:    o.Counter(obs.BytesIn),
		bytesOut:   o.Counter(obs.BytesOut),
		panics:     o.Counter(obs.DeliverPanics),
		errors:     o.Counter(obs.DeliverErrors),
		queue:      o.Gauge(obs.QueueBytes),
		rtt:        o.Histogram(obs.PingRTT),
	}
}

func newMessageType(name string, o *obs.Obs, total *totals) *messageType {
	return &messageType{
		name:       name,
		labels:     o.Labels("session", "type", name),
		total:      total,
		packetsIn:  o.ByType(obs.PacketsIn, name),
		packetsOut: o.ByType(obs.PacketsOut, name),
		bytesIn:    o.ByType(obs.BytesIn, name),
		bytesOut:   o.ByType(obs.BytesOut, name),
	}
}

// set gives the type new settings and returns those before.
func (t *messageType) set(s *settings) (was *settings) {
	if s != nil {
		t.largest.Store(max(t.largest.Load(), int64(s.spec.MaxSize)))
	}
	return t.now.Swap(s)
}

// received tells whether peers may send the type.
func (t *messageType) received() bool {
	s := t.now.Load()
	return s != nil && s.receive
}

func (t *messageType) countOut(messages, bytes int) {
	t.packetsOut.Inc(int64(messages))
	t.bytesOut.Inc(int64(bytes))
	t.total.packetsOut.Inc(int64(messages))
	t.total.bytesOut.Inc(int64(bytes))
}

func (t *messageType) countIn(messages, bytes int) {
	t.packetsIn.Inc(int64(messages))
	t.bytesIn.Inc(int64(bytes))
	t.total.packetsIn.Inc(int64(messages))
	t.total.bytesIn.Inc(int64(bytes))
}
