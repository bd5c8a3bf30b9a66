package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-nebnet/nebnet/netservice"
)

// serveHTTP serves the page of a node at / and its metrics for Prometheus at
// /metrics, to whoever can reach addr: choose one of this machine's own. The
// server ends with stop, once the service has stopped, which ends live pages.
func serveHTTP(addr string, svc *netservice.NebService) (url string, stop func(), err error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(svc.Collector()); err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/", svc.Inspector())
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("-http: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until stop
	}()
	return "http://" + l.Addr().String() + "/", func() {
		_ = server.Close()
		<-done
	}, nil
}
