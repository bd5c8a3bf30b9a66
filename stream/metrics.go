package stream

import (
	"errors"

	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// instruments are the metrics of all streams of a registry. Peers cannot make
// new names: the reasons of a refusal are the fixed ones below.
type instruments struct {
	obs     *obs.Obs
	active  metrics.Gauge
	opened  metrics.Counter
	in, out metrics.Counter
}

func newInstruments(o *obs.Obs) *instruments {
	return &instruments{
		obs:    o,
		active: o.Gauge(obs.TunnelActive),
		opened: o.Counter(obs.TunnelOpened),
		in:     o.Counter(obs.TunnelBytesIn),
		out:    o.Counter(obs.TunnelBytesOut),
	}
}

// Reasoner is implemented by errors that count under a name of their own when
// a stream is refused. The name must be one of a fixed set.
type Reasoner interface{ TunnelReason() string }

func (m *instruments) refused(err error) { m.count(obs.TunnelRefused, err) }
func (m *instruments) failed(err error)  { m.count(obs.TunnelFailed, err) }

func (m *instruments) count(prefix string, err error) {
	reason := obs.OtherReason
	var r Reasoner
	switch {
	case errors.As(err, &r):
		reason = r.TunnelReason()
	case errors.Is(err, ErrLimit):
		reason = "limit"
	case errors.Is(err, ErrIdle):
		reason = "idle"
	case errors.Is(err, ErrStalled):
		reason = "stalled"
	case errors.Is(err, ErrNotAdmitted):
		reason = "not_admitted"
	case errors.Is(err, ErrTargetRefused):
		reason = "target"
	case errors.Is(err, ErrClosed):
		reason = "closed"
	}
	m.obs.Counter(prefix + reason).Inc(1)
}
