package netservice_test

import (
	"context"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/netservice"
)

// BenchmarkStreamedAnswers compares streamed answers of 1 MiB, from the handler to
// the loop of the caller, with a plain libp2p stream that batches its writes, between
// the same two hosts over TCP and TLS. The two take turns of 64 MiB, and what is
// reported is the median of the rounds: of the time, and of the processor time, on
// which the load of other processes has less influence. The receiver of the plain
// stream has one buffer of 64 KiB; the caller gets each answer as a slice to keep.
//
//	go test -run '^$' -bench BenchmarkStreamedAnswers -benchtime 15x ./netservice
func BenchmarkStreamedAnswers(b *testing.B) {
	const n, size = 64, 1 << 20
	state := make([]byte, *pathHeap<<20)
	defer runtime.KeepAlive(state)
	payload := randomBytes(size)
	pieces := netservice.DeclareStream("pieces", netservice.Raw(), netservice.Raw())
	server := benchService(b, netservice.Config{}, func(s *netservice.NebService) {
		if _, err := pieces.Serve(s, func(context.Context, peer.ID, []byte) iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) {
				for range n {
					if !yield(payload, nil) {
						return
					}
				}
			}
		}); err != nil {
			b.Fatal(err)
		}
	})
	client := benchService(b, netservice.Config{}, nil)
	if err := client.ConnectPeer(b.Context(), server.Node().Addrs()[0].String()); err != nil {
		b.Fatal(err)
	}
	got := bench.NewCounter()
	client.Node().Host().SetStreamHandler(plainProtocol, bench.Receive(got))
	plain, err := server.Node().Host().NewStream(b.Context(), client.Node().ID(), plainProtocol)
	if err != nil {
		b.Fatal(err)
	}
	streamed := func() time.Duration {
		began, bytes := time.Now(), 0
		for ans, err := range pieces.Call(b.Context(), client, server.Node().ID(), nil) {
			if err != nil {
				b.Fatal(err)
			}
			bytes += len(ans)
		}
		if bytes != n*size {
			b.Fatal(bytes)
		}
		return time.Since(began)
	}
	batched := func() time.Duration {
		took, err := bench.Batched(plain, got, payload, n)
		if err != nil {
			b.Fatal(err)
		}
		return took
	}
	batched()
	streamed()
	var rate, part, cpu []float64
	for b.Loop() {
		at := bench.CPU()
		base := batched()
		between := bench.CPU()
		took := streamed()
		rate = append(rate, n*size/1e6/took.Seconds())
		part = append(part, base.Seconds()/took.Seconds())
		cpu = append(cpu, float64(bench.CPU()-between)/float64(between-at))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bench.Median(rate), "MB/s")
	b.ReportMetric(bench.Median(part), "x-batched")
	b.ReportMetric(bench.Median(cpu), "cpu-of-batched")
}
