package obs

import (
	"io"
	"os"

	"github.com/rcrowley/go-metrics"
	"github.com/sirupsen/logrus"
)

// Obs carries the logger and the metrics registry of one service.
// It is safe for concurrent use.
type Obs struct {
	log   *logrus.Logger
	reg   metrics.Registry
	limit *limiter
}

// New returns an Obs over the given logger and registry. A nil logger becomes
// a private one that writes text at Info to standard error; a nil registry
// becomes a private one.
func New(log *logrus.Logger, reg metrics.Registry) *Obs {
	if log == nil {
		log = logrus.New()
		log.SetOutput(os.Stderr)
	}
	if reg == nil {
		reg = metrics.NewRegistry()
	}
	return &Obs{log: log, reg: reg, limit: newLimiter()}
}

// Quiet is New, but a nil logger discards.
func Quiet(log *logrus.Logger, reg metrics.Registry) *Obs {
	if log == nil {
		log = logrus.New()
		log.SetOutput(io.Discard)
		log.SetLevel(logrus.PanicLevel)
	}
	return New(log, reg)
}

// Discard returns an Obs that logs nothing and counts in a private registry.
func Discard() *Obs { return Quiet(nil, nil) }

// Or is o, and Discard where that is nil.
func Or(o *Obs) *Obs {
	if o == nil {
		return Discard()
	}
	return o
}

// Logger returns the service's logger.
func (o *Obs) Logger() *logrus.Logger { return o.log }

// Registry returns the service's metrics registry.
func (o *Obs) Registry() metrics.Registry { return o.reg }

// Log returns an entry for one component of the library, such as "session".
func (o *Obs) Log(component string) *logrus.Entry {
	return o.log.WithField("component", component)
}

// Counter returns the counter of that name, made on first use. A name that is
// taken by a metric of another kind (by the owner of an injected registry)
// gives a counter that is not registered, so that counting never fails.
func (o *Obs) Counter(name string) metrics.Counter {
	if c, ok := o.reg.GetOrRegister(name, metrics.NewCounter).(metrics.Counter); ok {
		return c
	}
	return metrics.NewCounter()
}

// Gauge returns the gauge of that name, under the same rule as Counter.
func (o *Obs) Gauge(name string) metrics.Gauge {
	if g, ok := o.reg.GetOrRegister(name, metrics.NewGauge).(metrics.Gauge); ok {
		return g
	}
	return metrics.NewGauge()
}

// Histogram returns the histogram of that name, of durations in microseconds, in
// Buckets and over a uniform sample of 1,028 values, under the same rule as
// Counter.
func (o *Obs) Histogram(name string) metrics.Histogram {
	fresh := func() metrics.Histogram { return newBucketed() }
	if h, ok := o.reg.GetOrRegister(name, fresh).(metrics.Histogram); ok {
		return h
	}
	return fresh()
}
