package reqresp

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/bench"
)

const plainProtocol = "/plain/1.0.0"

// benchPair is two nodes over TCP on loopback, the second of which serves.
func benchPair(b *testing.B) (client, s *node) {
	b.Helper()
	return loopback(b, func(c *Config) { c.Report = nil })
}

var benchEcho = &Spec{Name: "echo", Kind: Unary, Concurrency: 64, PerPeer: 64}

// load has callers make n calls in all and returns the time of each.
func load(b *testing.B, callers, n int, call func() error) (took time.Duration, each []time.Duration) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			mine := []time.Duration{}
			for range n / callers {
				at := time.Now()
				if err := call(); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			each = append(each, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	return time.Since(began), each
}

func p50(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2])
}

// BenchmarkCalls compares unary calls of 100 bytes with a new libp2p stream per
// request on the same two hosts, over TCP and TLS: requests a second of 32
// callers, and the median time of one. The two take turns; the medians of the
// rounds are reported.
//
//	go test -run '^$' -bench BenchmarkCalls -benchtime 5x ./internal/reqresp
func BenchmarkCalls(b *testing.B) {
	client, s := benchPair(b)
	serve(b, s, benchEcho, echo)
	s.SetStreamHandler(plainProtocol, bench.AnswerOnce)
	req := bytes.Repeat([]byte{7}, 100)
	ours := func() error {
		_, err := client.e.Call(b.Context(), s.ID(), benchEcho, req)
		return err
	}
	plain := func() error { return bench.AskOnce(b.Context(), client.Host, s.ID(), plainProtocol, req) }
	load(b, 32, 2000, ours)
	load(b, 32, 2000, plain)
	var rate, times, median, part []float64
	for b.Loop() {
		base, _ := load(b, 32, 16_000, plain)
		took, _ := load(b, 32, 96_000, ours)
		_, baseOne := load(b, 1, 5000, plain)
		_, one := load(b, 1, 10_000, ours)
		rate = append(rate, 96_000/took.Seconds())
		times = append(times, 6*base.Seconds()/took.Seconds())
		median = append(median, p50(one)/1000)
		part = append(part, p50(one)/p50(baseOne))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bench.Median(rate), "req/s")
	b.ReportMetric(bench.Median(times), "x-newstream")
	b.ReportMetric(bench.Median(median), "p50-us")
	b.ReportMetric(bench.Median(part), "p50-of-newstream")
}

// BenchmarkCall is one caller alone, and 32 of them, for profiles.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(map[int]string{1: "one", 32: "many"}[callers], func(b *testing.B) {
			client, s := benchPair(b)
			serve(b, s, benchEcho, echo)
			req := bytes.Repeat([]byte{7}, 100)
			call := func() error {
				_, err := client.e.Call(b.Context(), s.ID(), benchEcho, req)
				return err
			}
			load(b, 32, 2000, call)
			b.ReportAllocs()
			b.ResetTimer()
			load(b, callers, max(b.N, callers), call)
		})
	}
}
