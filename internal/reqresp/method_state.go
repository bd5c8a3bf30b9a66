package reqresp

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

// maxRated is how many peers' rates are remembered for a method.
const maxRated = 1024

// method is what an engine knows of a method that it serves or calls.
type method struct {
	spec     Spec
	bad      error // why it can be neither
	counters counters
	handler  atomic.Pointer[Handler] // nil: not served

	admission *admission // guarded by the desk
	latency   latencies

	mu    sync.Mutex // guards rates
	rates *lru.Cache[peer.ID, *tokenbucket.Bucket]
}

func (e *Engine) newMethod(spec Spec) *method {
	m := &method{spec: spec.withDefaults(), bad: spec.Validate()}
	if m.bad != nil {
		return m // its name must not become that of a metric
	}
	m.admission = newAdmission(m.spec)
	m.counters = newCounters(e.obs, spec.Name)
	if m.spec.Rate > 0 {
		m.rates, _ = lru.New[peer.ID, *tokenbucket.Bucket](maxRated) // fails for sizes below 1 only
	}
	return m
}

// allow tells whether a peer may make another call now, or after what time.
func (m *method) allow(p peer.ID, now time.Time) (time.Duration, bool) {
	if m.rates == nil {
		return 0, true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.rates.Get(p)
	if !ok {
		b = new(tokenbucket.Bucket)
		m.rates.Add(p, b)
	}
	rate := tokenbucket.Rate{PerSecond: m.spec.Rate, Burst: float64(m.spec.Burst)}
	return b.Wait(rate, now, 1), b.Take(rate, now, 1)
}

// fits checks an answer of the program.
func (m *method) fits(answer []byte) error {
	if len(answer) > m.spec.MaxAnswer {
		return fmt.Errorf("an answer of %d bytes, %d are allowed", len(answer), m.spec.MaxAnswer)
	}
	return nil
}

// counters are those of one method.
type counters struct {
	o      *obs.Obs
	name   string
	labels obs.Labels // of goroutines that work for the method

	calls, failed, bytesIn      metrics.Counter // made here
	answered, cancelled         metrics.Counter // served here
	bytesOut, handled           metrics.Counter
	servedMicros, latencyMicros metrics.Histogram
}

func newCounters(o *obs.Obs, name string) counters {
	return counters{
		o: o, name: name, labels: o.Labels("requests", "method", name),
		calls: o.ByType(obs.RequestCalls, name), failed: o.ByType(obs.RequestFailed, name), bytesIn: o.ByType(obs.RequestBytesIn, name),
		answered: o.ByType(obs.RequestAnswered, name), cancelled: o.ByType(obs.RequestCancelled, name),
		bytesOut: o.ByType(obs.RequestBytesOut, name), handled: o.ByType(obs.RequestHandled, name),
		servedMicros: o.Histogram(obs.RequestHandlerTime + "." + name), latencyMicros: o.Histogram(obs.RequestLatency + "." + name),
	}
}

// refused counts a call of a peer that was answered with an error.
func (c *counters) refused(code Code) { c.o.ByType(obs.RequestRefused+code.label(), c.name).Inc(1) }

// served counts a handler's run.
func (c *counters) served(took time.Duration) {
	c.handled.Inc(1)
	c.servedMicros.Update(took.Microseconds())
}

// made counts a call of this node.
func (m *method) made(took time.Duration, bytes int, err error) {
	if m.bad != nil {
		return
	}
	c := &m.counters
	c.calls.Inc(1)
	c.bytesIn.Inc(int64(bytes))
	if err == nil {
		c.latencyMicros.Update(took.Microseconds())
		m.latency.add(took)
		return
	}
	c.failed.Inc(1)
	code := "transport"
	if e, ok := errors.AsType[*Error](err); ok {
		code = e.Code.label()
	}
	c.o.ByType(obs.RequestErrors+code, c.name).Inc(1)
}
