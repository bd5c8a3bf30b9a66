package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// loopbackHost is a host on TCP.
func loopbackHost(t testing.TB, opts ...libp2p.Option) host.Host {
	t.Helper()
	h, err := libp2p.New(append(append(hostOptions(), opts...),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.DisableRelay(), libp2p.DisableMetrics())...)
	must(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// BenchmarkReach broadcasts -reach.messages of 1 KiB, a hundred a second, among
// -reach.nodes nodes of ten connections each, over TCP on loopback: the time to all
// nodes, the cost of a delivery, copies, and the bytes of all gossip streams for each
// byte of payload that was delivered. Systems take turns, so compare within one run:
//
//	go test ./internal/gossip -run xxx -bench Reach -benchtime 1x -count 5 -reach.nodes 30 -reach.messages 1000
func BenchmarkReach(b *testing.B) {
	for _, signed := range []bool{false, true} {
		for _, system := range []string{"ours", "plain"} {
			b.Run(fmt.Sprintf("%s/%s", signing(signed), system), func(b *testing.B) {
				for b.Loop() {
					benchmarkReach(b, system, signed)
				}
			})
		}
	}
}

func signing(on bool) string {
	if on {
		return "signed"
	}
	return "unsigned"
}

func benchmarkReach(b *testing.B, system string, signed bool) {
	s := &swarm{
		t: b, rng: rand.New(rand.NewPCG(1, 2)), record: bench.NewReach(*reachNodes, *reachMessages),
		hosts: make([]host.Host, *reachNodes), speakers: make([]speaker, *reachNodes),
	}
	defer s.close()
	wire := metrics.NewBandwidthCounter()
	make := func(h host.Host, got func([]byte)) (speaker, error) { return newPlain(h, got, signed) }
	if system == "ours" {
		make = func(h host.Host, got func([]byte)) (speaker, error) { return newEngine(h, got, signed) }
	}
	for i := range s.hosts {
		var err error
		s.hosts[i] = loopbackHost(b, libp2p.BandwidthReporter(wire))
		s.speakers[i], err = make(s.hosts[i], func(data []byte) { s.record.Got(i, data) })
		must(b, err)
	}
	for i := range s.hosts {
		s.dial(s.rng, i, reachDegree/2)
	}
	time.Sleep(5 * time.Second) // meshes form
	before := gossipBytes(wire)
	r := s.broadcast()
	bytes := gossipBytes(wire) - before
	if r.Lost > 0 {
		b.Logf("%d lost", r.Lost)
	}
	b.ReportMetric(float64(r.P50.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(r.P99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(r.CPU, "cpu-us/delivery")
	b.ReportMetric(r.Alloc*1024, "B/delivery")
	b.ReportMetric(r.Duplicates, "copies")
	b.ReportMetric(float64(bytes)/float64(r.Delivered*reachSize), "wire/payload")
}

// gossipBytes are those sent on all gossip streams.
func gossipBytes(c *metrics.BandwidthCounter) (n int64) {
	for _, id := range Protocols() {
		n += c.GetBandwidthForProtocol(id).TotalOut
	}
	return n
}

// BenchmarkIdlePeers has a node connected to 40 others, all with five types joined
// and nothing said, and reports heap and goroutines at both ends of a connection,
// shared between them: without any broadcasting, with the engine, and with plain
// go-libp2p-pubsub.
//
//	go test ./internal/gossip -run xxx -bench IdlePeers -benchtime 1x -count 3
func BenchmarkIdlePeers(b *testing.B) {
	for _, system := range []string{"none", "ours", "plain"} {
		b.Run(system, func(b *testing.B) {
			for b.Loop() {
				benchmarkIdle(b, system)
			}
		})
	}
}

func benchmarkIdle(b *testing.B, system string) {
	const peers, types = 40, 5
	net := testnet.New(1)
	hosts := make([]host.Host, peers+1)
	for i := range hosts {
		hosts[i] = net.Host(b, net.Node(i+1), hostOptions()...)
		switch system {
		case "ours":
			benchEngine(b, hosts[i], Unsigned, types, func() {})
		case "plain":
			benchPlain(b, hosts[i], types)
		}
	}
	heap, goroutines := inUse()
	for _, h := range hosts[1:] {
		must(b, h.Connect(b.Context(), testnet.Info(hosts[0])))
	}
	// Until identify and what waits a moment for more to come have ended.
	time.Sleep(20 * time.Second)
	heapAfter, goroutinesAfter := inUse()
	b.ReportMetric((heapAfter-heap)/(2*peers), "heap-B/peer")
	b.ReportMetric((goroutinesAfter-goroutines)/(2*peers), "goroutines/peer")
	runtime.KeepAlive(hosts)
}

// benchPlain joins types.
func benchPlain(b *testing.B, h host.Host, types int) {
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, h, plainOptions(false)...)
	must(b, err)
	for i := range types {
		topic, err := ps.Join(fmt.Sprint(reachTopic, i))
		must(b, err)
		_, err = topic.Subscribe()
		must(b, err)
	}
}

// inUse is the heap that is in use, and the goroutines.
func inUse() (heap, goroutines float64) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), float64(runtime.NumGoroutine())
}
