package inspect

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// micros is the unit of the registry's durations, in seconds.
const micros = 1e-6

// Collector reads a registry of the library for Prometheus. Nothing is kept
// twice: each scrape reads the values that are there. Labels come from types and
// reasons that the local program knows, and so are bounded.
type Collector struct {
	registry metrics.Registry
	bySource map[string]*exported
}

// exported is a family with its descriptor.
type exported struct {
	*family
	desc *prometheus.Desc
}

// NewCollector makes a collector of a registry, which may hold metrics of
// others, and have a prefix.
func NewCollector(r metrics.Registry) *Collector {
	c := &Collector{registry: r, bySource: make(map[string]*exported, len(families))}
	for i := range families {
		f := &families[i]
		c.bySource[key(f)] = &exported{f, prometheus.NewDesc(f.name, f.help, f.labels, prometheus.Labels(f.fixed))}
	}
	return c
}

// key finds the family of a metric: the source, and how much may follow it.
func key(f *family) string {
	if len(f.labels) == 0 {
		return f.source
	}
	return strings.TrimSuffix(f.source, ".") + "."
}

// Describe is prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, e := range c.bySource {
		ch <- e.desc
	}
}

// Collect is prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.registry.Each(func(name string, value any) {
		e, labels := c.find(name)
		if e == nil {
			return
		}
		if m := e.metric(value, labels); m != nil {
			ch <- m
		}
	})
}

// find parts a name of the registry into its family and its labels. A name with
// nothing to follow is tried first: a sum beside its parts is no type.
func (c *Collector) find(name string) (*exported, []string) {
	at := strings.Index(name, obs.Prefix)
	if at < 0 {
		return nil, nil
	}
	name = name[at:] // after the prefix of a child registry
	if e := c.bySource[name]; e != nil {
		return e, nil
	}
	// The longest source wins: names of types may have dots.
	for end := strings.LastIndexByte(name, '.'); end > 0; end = strings.LastIndexByte(name[:end], '.') {
		e := c.bySource[name[:end+1]]
		if e == nil {
			continue
		}
		if labels := strings.SplitN(name[end+1:], ".", len(e.labels)); len(labels) == len(e.labels) {
			return e, labels
		}
	}
	return nil, nil
}

// metric is the value as of now; nil where it is of another kind than the
// family, as when the program has taken the name.
func (e *exported) metric(value any, labels []string) prometheus.Metric {
	switch v := value.(type) {
	case metrics.Counter:
		if e.kind == counter {
			return e.valid(prometheus.NewConstMetric(e.desc, prometheus.CounterValue, float64(v.Count()), labels...))
		}
	case metrics.Gauge:
		if e.kind == gauge {
			return e.valid(prometheus.NewConstMetric(e.desc, prometheus.GaugeValue, float64(v.Value()), labels...))
		}
	case obs.Buckets:
		if e.kind != histogram {
			return nil
		}
		edges, atMost, count, sum := v.Buckets()
		buckets := make(map[float64]uint64, len(edges))
		for i, edge := range edges {
			buckets[float64(edge)*micros] = atMost[i]
		}
		return e.valid(prometheus.NewConstHistogram(e.desc, count, float64(sum)*micros, buckets, labels...))
	}
	return nil
}

// valid has the scrape report what could not be made.
func (e *exported) valid(m prometheus.Metric, err error) prometheus.Metric {
	if err != nil {
		return prometheus.NewInvalidMetric(e.desc, err)
	}
	return m
}
