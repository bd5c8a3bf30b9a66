package netservice_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/netservice"
)

const plainProtocol = "/plain/1.0.0"

func benchService(b *testing.B, cfg netservice.Config, subscribe func(*netservice.NebService)) *netservice.NebService {
	b.Helper()
	cfg.ChainID, cfg.Listen = "bench", []string{"/ip4/127.0.0.1/tcp/0"}
	s, err := netservice.NewNebService(cfg, quiet())
	if err != nil {
		b.Fatal(err)
	}
	if subscribe != nil {
		subscribe(s)
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(b)
	return b
}

var benchTx = netservice.Declare("tx", netservice.Raw(), netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless)))

// benchPair is two services that are peers; the second counts what it gets.
func benchPair(b *testing.B) (sender, receiver *netservice.NebService, tx *netservice.Type[[]byte], got *bench.Counter) {
	b.Helper()
	got = bench.NewCounter()
	receiver = benchService(b, netservice.Config{}, func(s *netservice.NebService) {
		if _, err := benchTx.Subscribe(s, func(context.Context, netservice.Received[[]byte]) { got.Add(1) }); err != nil {
			b.Fatal(err)
		}
	})
	sender = benchService(b, netservice.Config{}, nil)
	if err := sender.ConnectPeer(b.Context(), receiver.Node().Addrs()[0].String()); err != nil {
		b.Fatal(err)
	}
	return sender, receiver, benchTx, got
}

// BenchmarkSend is the whole path alone, for profiles.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{128, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sender, receiver, tx, got := benchPair(b)
			payload := randomBytes(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			got.Expect(b.N)
			b.ResetTimer()
			for range b.N {
				if err := tx.Send(b.Context(), sender, receiver.Node().ID(), payload); err != nil {
					b.Fatal(err)
				}
			}
			got.Wait()
		})
	}
}

// pathHeap is the live heap of the process while paths are compared. A node's
// holds its state; without any, the collector runs every few large messages,
// and what is measured is the collector.
var pathHeap = flag.Int("path.heap", 64, "MiB that the process of BenchmarkPath holds beside")

// BenchmarkPath compares the whole path between two services, from Send to the
// handler of a lossless subscription, with plain libp2p streams on the same two
// hosts over TCP and TLS: one Write per message, and batched. The three take
// turns; what is reported is the median of the rounds. With an empty heap
// beside, add -path.heap 0.
//
//	go test -run '^$' -bench BenchmarkPath -benchtime 9x ./netservice
func BenchmarkPath(b *testing.B) {
	state := make([]byte, *pathHeap<<20)
	defer runtime.KeepAlive(state)
	for _, size := range []int{128, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sender, receiver, tx, got := benchPair(b)
			to := receiver.Node().ID()
			plainGot := bench.NewCounter()
			receiver.Node().Host().SetStreamHandler(plainProtocol, bench.Receive(plainGot))
			plain, err := sender.Node().Host().NewStream(b.Context(), to, plainProtocol)
			if err != nil {
				b.Fatal(err)
			}
			payload := randomBytes(size)
			n := min(400_000, (256<<20)/size)
			one := max(n/10, min(n, 200))
			path := func() float64 {
				got.Expect(n)
				began := time.Now()
				for range n {
					if err := tx.Send(b.Context(), sender, to, payload); err != nil {
						b.Fatal(err)
					}
				}
				got.Wait()
				return float64(n) / time.Since(began).Seconds()
			}
			baseline := func(run func() (time.Duration, error), n int) float64 {
				d, err := run()
				if err != nil {
					b.Fatal(err)
				}
				return float64(n) / d.Seconds()
			}
			path() // warm
			var rate, toOne, toBatched, cpu []float64
			var allocs uint64
			for b.Loop() {
				c0 := bench.CPU()
				batched := baseline(func() (time.Duration, error) { return bench.Batched(plain, plainGot, payload, n) }, n)
				c1 := bench.CPU()
				oneWrite := baseline(func() (time.Duration, error) { return bench.OneWrite(plain, plainGot, payload, one) }, one)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				c2 := bench.CPU()
				r := path()
				c3 := bench.CPU()
				runtime.ReadMemStats(&after)
				cpu = append(cpu, float64(c3-c2)/float64(c1-c0))
				allocs += after.Mallocs - before.Mallocs
				rate, toOne, toBatched = append(rate, r), append(toOne, r/oneWrite), append(toBatched, r/batched)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(bench.Median(rate), "msg/s")
			b.ReportMetric(bench.Median(toOne), "x-onewrite")
			b.ReportMetric(bench.Median(toBatched), "x-batched")
			b.ReportMetric(bench.Median(cpu), "cpu-x-batched")
			b.ReportMetric(float64(allocs)/float64(n*len(rate)), "allocs/msg")
		})
	}
}

// BenchmarkIdlePeers measures what a connected, idle peer costs a service that
// has exchanged five message types with it, above what it costs a plain libp2p
// host, and one that runs go-libp2p-pubsub with as many topics; and what it costs
// a service all of whose types are declared with NoBroadcast. 200 nodes
// connect to one hub, then to a second one; the growth with the second is
// counted for each end of its connections, so that what a node makes once, with
// its first peer, is left out.
//
//	go test -run '^$' -bench BenchmarkIdlePeers -benchtime 1x ./netservice
func BenchmarkIdlePeers(b *testing.B) {
	const peers = 200
	for b.Loop() {
		plainHeap, plainGoroutines := idlePlain(b, peers, 0)
		gossipHeap, gossipGoroutines := idlePlain(b, peers, idleTypes)
		heap, goroutines := idleServices(b, peers)
		directHeap, directGoroutines := idleServices(b, peers, netservice.WithoutBroadcast())
		b.ReportMetric(0, "ns/op")
		b.ReportMetric((heap-plainHeap)/1024, "KiB/peer-above-plain")
		b.ReportMetric(goroutines-plainGoroutines, "goroutines/peer-above-plain")
		b.ReportMetric((heap-gossipHeap)/1024, "KiB/peer-above-pubsub")
		b.ReportMetric(goroutines-gossipGoroutines, "goroutines/peer-above-pubsub")
		b.ReportMetric((directHeap-plainHeap)/1024, "KiB/peer-nobroadcast-above-plain")
		b.ReportMetric(directGoroutines-plainGoroutines, "goroutines/peer-nobroadcast-above-plain")
		b.ReportMetric(plainHeap/1024, "KiB/peer-plain")
		b.ReportMetric(plainGoroutines, "goroutines/peer-plain")
	}
}

const idleTypes = 5

// idleTime is how long the nodes are left alone: streams that carry nothing
// have been closed by then.
const idleTime = 20 * time.Second

// usage is heap in use and goroutines now.
func usage() (heap, goroutines float64) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), float64(runtime.NumGoroutine())
}

// growth is what connect adds for each of the ends.
func growth(ends int, connect func()) (heap, goroutines float64) {
	heap0, goroutines0 := usage()
	connect()
	time.Sleep(idleTime)
	heap, goroutines = usage()
	return (heap - heap0) / float64(ends), (goroutines - goroutines0) / float64(ends)
}

// idlePlain is for plain hosts, with go-libp2p-pubsub if there are topics.
func idlePlain(b *testing.B, peers, topics int) (heap, goroutines float64) {
	var hosts []host.Host
	for range peers + 2 {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
		if err != nil {
			b.Fatal(err)
		}
		defer h.Close()
		hosts = append(hosts, h)
		if topics > 0 {
			joinTopics(b, h, topics)
		}
	}
	for _, hub := range hosts[:2] {
		heap, goroutines = growth(2*peers, func() {
			for _, h := range hosts[2:] {
				if err := h.Connect(b.Context(), *host.InfoFromHost(hub)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	return heap, goroutines
}

func joinTopics(b *testing.B, h host.Host, topics int) {
	b.Helper()
	ps, err := pubsub.NewGossipSub(b.Context(), h)
	if err != nil {
		b.Fatal(err)
	}
	for i := range topics {
		t, err := ps.Join(fmt.Sprint("type", i))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := t.Subscribe(); err != nil {
			b.Fatal(err)
		}
	}
}

func idleServices(b *testing.B, peers int, opts ...netservice.TypeOption) (heap, goroutines float64) {
	var types []*netservice.Type[[]byte]
	for i := range idleTypes {
		types = append(types, netservice.Declare(fmt.Sprint("type", i), netservice.Raw(), opts...))
	}
	got := bench.NewCounter()
	subscribe := func(s *netservice.NebService) {
		for _, t := range types {
			if _, err := t.Subscribe(s, func(context.Context, netservice.Received[[]byte]) { got.Add(1) }); err != nil {
				b.Fatal(err)
			}
		}
	}
	send := func(from, to *netservice.NebService) {
		for _, t := range types {
			if err := t.Send(b.Context(), from, to.Node().ID(), []byte("x")); err != nil {
				b.Fatal(err)
			}
		}
	}
	var hubs, leaves []*netservice.NebService
	for range 2 {
		hubs = append(hubs, benchService(b, netservice.Config{MaxPeers: peers, InboundShare: 1, NoPeerExchange: true}, subscribe))
	}
	for range peers {
		leaves = append(leaves, benchService(b, netservice.Config{NoPeerExchange: true}, subscribe))
	}
	for _, hub := range hubs {
		heap, goroutines = growth(2*peers, func() {
			for _, s := range leaves {
				if err := s.ConnectPeer(b.Context(), hub.Node().Addrs()[0].String()); err != nil {
					b.Fatal(err)
				}
			}
			if err := hub.WaitForPeers(b.Context(), peers); err != nil {
				b.Fatal(err)
			}
			got.Expect(2 * peers * len(types))
			for _, s := range leaves {
				send(s, hub)
				send(hub, s)
			}
			got.Wait()
		})
	}
	return heap, goroutines
}
