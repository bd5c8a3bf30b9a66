// Package obs is how the library is seen from outside: one logrus logger and
// one go-metrics registry per service, every metric name, and the rules that
// keep both bounded however peers behave.
//
// Nothing here is process-wide except the bridge of libp2p's own log lines
// (libp2p has one handler per process), which is reference counted.
//
// Meters and timers of go-metrics are not offered: each of them needs a
// goroutine that nobody can stop.
package obs
