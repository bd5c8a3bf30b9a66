package netservice_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
)

// BenchmarkDownload fetches 10,000 blocks of 64 KiB from 16 peers, of which 3 are
// slow, 2 lie and 2 die on the way, and compares the time with that of the 9 healthy
// ones alone, in the same run.
//
//	go test -run '^$' -bench BenchmarkDownload -benchtime 1x ./netservice
func BenchmarkDownload(b *testing.B) {
	const blocks, size = 10_000, 64 << 10
	body := randomBytes(size)
	bulk := netservice.DeclareStream("bulk", netservice.JSON[span](), netservice.Raw(), netservice.WithWindow(2<<20))
	for b.Loop() {
		client := benchService(b, netservice.Config{NoPeerExchange: true}, nil)
		healthy := map[peer.ID]bool{}
		for i := range 16 {
			var s *netservice.NebService
			var served atomic.Int64
			s = benchService(b, netservice.Config{NoPeerExchange: true}, func(s *netservice.NebService) {
				if _, err := bulk.Serve(s, func(ctx context.Context, _ peer.ID, r span) iter.Seq2[[]byte, error] {
					return func(yield func([]byte, error) bool) {
						for k := r.From; k < r.From+r.N; k++ {
							data, n := body, served.Add(1)
							switch {
							case i < 3:
								time.Sleep(30 * time.Millisecond)
							case i < 5 && n > 100:
								data = body[1:]
							case i < 7 && n > 100:
								<-ctx.Done() // dead: it says nothing any more
								return
							}
							if !yield(data, nil) {
								return
							}
						}
					}
				}); err != nil {
					b.Fatal(err)
				}
			})
			if err := client.ConnectPeer(b.Context(), s.Node().Addrs()[0].String()); err != nil {
				b.Fatal(err)
			}
			healthy[s.Node().ID()] = i >= 7
		}
		run := func(peers func(netservice.PeerInfo) bool) time.Duration {
			began, n := time.Now(), 0
			for _, err := range (netservice.Download[[]byte]{
				To: blocks, Peers: peers,
				Fetch: func(ctx context.Context, p peer.ID, from, n uint64) iter.Seq2[[]byte, error] {
					return bulk.Call(ctx, client, p, span{from, n})
				},
				Verify: func(i uint64, got []byte) error {
					if !bytes.Equal(got, body) {
						return fmt.Errorf("not block %d", i)
					}
					return nil
				},
			}).Run(b.Context(), client) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != blocks {
				b.Fatal(n, "blocks")
			}
			return time.Since(began)
		}
		good := run(func(p netservice.PeerInfo) bool { return healthy[p.ID] })
		all := run(nil)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(blocks*size/1e6/good.Seconds(), "MB/s-healthy")
		b.ReportMetric(all.Seconds()/good.Seconds(), "x-healthy")
	}
}
