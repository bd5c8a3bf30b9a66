// Package monitoring holds what an operator puts beside a node: configuration and
// alert rules for Prometheus, and a dashboard for Grafana. See README.md.
package monitoring
