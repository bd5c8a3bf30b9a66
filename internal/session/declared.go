package session

import (
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/rcrowley/go-metrics"
)

// declared is a message type known here, and what is counted of it.
type declared struct {
	spec       TypeSpec
	pid        protocol.ID
	slot       int // where sessions keep its queue; of the name
	retracted  atomic.Bool
	delivering atomic.Int32 // Deliver callbacks under way

	total                                    *totals
	packetsIn, packetsOut, bytesIn, bytesOut metrics.Counter
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

func newDeclared(spec TypeSpec, network string, o *obs.Obs, total *totals) *declared {
	return &declared{
		spec:       spec,
		pid:        Protocol(network, spec.Name),
		total:      total,
		packetsIn:  o.ByType(obs.PacketsIn, spec.Name),
		packetsOut: o.ByType(obs.PacketsOut, spec.Name),
		bytesIn:    o.ByType(obs.BytesIn, spec.Name),
		bytesOut:   o.ByType(obs.BytesOut, spec.Name),
	}
}

func (t *declared) countOut(messages, bytes int) {
	t.packetsOut.Inc(int64(messages))
	t.bytesOut.Inc(int64(bytes))
	t.total.packetsOut.Inc(int64(messages))
	t.total.bytesOut.Inc(int64(bytes))
}

func (t *declared) countIn(messages, bytes int) {
	t.packetsIn.Inc(int64(messages))
	t.bytesIn.Inc(int64(bytes))
	t.total.packetsIn.Inc(int64(messages))
	t.total.bytesIn.Inc(int64(bytes))
}
