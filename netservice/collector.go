package netservice

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-nebnet/nebnet/internal/inspect"
)

// Collector exports the service's metrics to Prometheus, with names that begin
// with nebnet_, base units and help texts:
//
//	registry := prometheus.NewRegistry()
//	registry.MustRegister(svc.Collector())
//	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// It reads the registry of Metrics at each scrape and keeps nothing itself. The
// values of labels are types and reasons that this program knows, so their number
// is bounded. Where one process has several services, give each a label of its
// own with prometheus.WrapRegistererWith.
func (s *NebService) Collector() prometheus.Collector {
	return inspect.NewCollector(s.obs.Registry())
}
