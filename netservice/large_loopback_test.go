package netservice_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/netservice"
)

const (
	loopNodes    = 30
	loopSize     = 1 << 20
	loopMessages = 10
)

// loopChords are the distances of the nodes in a ring that a node dials: with those that
// dial it, each has eight connections.
var loopChords = []int{1, 4, 9, 13}

// loopNet is a network over TCP on loopback.
type loopNet struct {
	got     chan struct{} // a message has come to a node
	publish func(ctx context.Context, node int, data []byte) error
	wire    func() int64 // bytes received by all nodes on the streams of broadcasts
}

// loopResult is what a delivery has cost: microseconds of the process, bytes received by
// a node over the size, and the time to all nodes.
type loopResult struct {
	cpu, wire float64
	took      time.Duration
}

// BenchmarkLargeLoopback broadcasts 1 MiB among 30 services of eight connections each, and
// among as many hosts with plain go-libp2p-pubsub and the same connections, over TCP on
// loopback. The two take turns; what is reported are medians of the rounds. With
// -large.strict it fails where half the CPU of pubsub a delivery, or 1.2 times the size a
// node, are missed:
//
//	go test -run '^$' -bench LargeLoopback -benchtime 3x ./netservice
func BenchmarkLargeLoopback(b *testing.B) {
	var cpu, took, ours, plain, wire, wirePlain []float64
	for b.Loop() {
		s, p := loopRun(b, loopServices), loopRun(b, loopPubSub)
		cpu, took = append(cpu, s.cpu/p.cpu), append(took, s.took.Seconds()/p.took.Seconds())
		ours, plain = append(ours, s.cpu), append(plain, p.cpu)
		wire, wirePlain = append(wire, s.wire), append(wirePlain, p.wire)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bench.Median(cpu), "cpu-x-pubsub")
	b.ReportMetric(bench.Median(ours), "cpu-us/delivery")
	b.ReportMetric(bench.Median(plain), "cpu-us/delivery-pubsub")
	b.ReportMetric(bench.Median(wire), "wire/size")
	b.ReportMetric(bench.Median(wirePlain), "wire/size-pubsub")
	b.ReportMetric(bench.Median(took), "time-x-pubsub")
	if *largeAll && (bench.Median(cpu) > .5 || bench.Median(wire) > 1.2) {
		b.Error("the aims are missed")
	}
}

// loopRun makes a network, broadcasts in it, and ends it.
func loopRun(b *testing.B, make func(b *testing.B) (*loopNet, func())) (r loopResult) {
	n, stop := make(b)
	defer stop()
	time.Sleep(5 * time.Second) // meshes form
	n.broadcast(b, 0, block(0, loopSize))
	n.settle()
	var blocks [][]byte
	for k := range loopMessages {
		blocks = append(blocks, block(byte(k+1), loopSize))
	}
	wire, cost := n.wire(), bench.StartCost()
	for k, data := range blocks {
		began := time.Now()
		n.broadcast(b, k*7%loopNodes, data)
		r.took += time.Since(began) / loopMessages
	}
	n.settle() // copies that come late cost, too
	r.cpu, _ = cost.Per(loopMessages * (loopNodes - 1))
	r.wire = float64(n.wire()-wire) / (loopNodes * loopMessages * loopSize)
	return r
}

// broadcast waits until all other nodes have it.
func (n *loopNet) broadcast(b *testing.B, node int, data []byte) {
	b.Helper()
	if err := n.publish(b.Context(), node, data); err != nil {
		b.Fatal(err)
	}
	late := time.After(time.Minute)
	for i := range loopNodes - 1 {
		select {
		case <-n.got:
		case <-late:
			b.Fatalf("%d of %d nodes have it", i, loopNodes-1)
		}
	}
}

// settle waits until hardly anything comes any more.
func (n *loopNet) settle() {
	for was := int64(-loopSize); n.wire()-was > loopSize/10; {
		was = n.wire()
		time.Sleep(200 * time.Millisecond)
	}
}

func loopServices(b *testing.B) (*loopNet, func()) {
	n := &loopNet{got: make(chan struct{}, loopNodes)}
	var all []*netservice.NebService
	for i := range loopNodes {
		cfg := chain()
		cfg.Listen, cfg.NoPeerExchange = []string{"/ip4/127.0.0.1/tcp/0"}, true
		s, err := netservice.NewNebService(cfg, quiet())
		if err != nil {
			b.Fatal(err)
		}
		h := netservice.SignedHeaders(largeKey(b, i), func(peer.ID) bool { return true })
		if err := s.SetHeaders(largeType.Name(), h); err != nil {
			b.Fatal(err)
		}
		if _, err := largeType.Subscribe(s, func(context.Context, netservice.Received[[]byte]) { n.got <- struct{}{} }); err != nil {
			b.Fatal(err)
		}
		if err := s.Start(); err != nil {
			b.Fatal(err)
		}
		all = append(all, s)
	}
	for i, s := range all {
		for _, c := range loopChords {
			if err := s.ConnectPeer(b.Context(), all[(i+c)%loopNodes].Node().Addrs()[0].String()); err != nil {
				b.Fatal(err)
			}
		}
	}
	n.publish = func(ctx context.Context, node int, data []byte) error {
		return largeType.Broadcast(ctx, all[node], data)
	}
	n.wire = func() (sum int64) {
		for _, s := range all {
			st := s.Stats()
			sum += st.Large.WireIn + st.Gossip.WireIn
		}
		return sum
	}
	return n, func() {
		for _, s := range all {
			if err := s.Stop(); err != nil {
				b.Error(err)
			}
		}
	}
}

// meshsubIn counts what is read from streams of GossipSub. The counter of libp2p starts a
// goroutine that does not end.
type meshsubIn struct {
	metrics.Reporter
	n atomic.Int64
}

func (*meshsubIn) LogSentMessage(int64)                             {}
func (*meshsubIn) LogRecvMessage(int64)                             {}
func (*meshsubIn) LogSentMessageStream(int64, protocol.ID, peer.ID) {}

func (m *meshsubIn) LogRecvMessageStream(n int64, id protocol.ID, _ peer.ID) {
	if strings.HasPrefix(string(id), "/meshsub/") {
		m.n.Add(n)
	}
}

func loopPubSub(b *testing.B) (*loopNet, func()) {
	n := &loopNet{got: make(chan struct{}, loopNodes)}
	counter := new(meshsubIn)
	var hosts []host.Host
	var subs []*bench.PubSub
	for range loopNodes {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.BandwidthReporter(counter),
			libp2p.DisableRelay(), libp2p.DisableMetrics())
		if err != nil {
			b.Fatal(err)
		}
		s, err := bench.NewPubSub(h, largeType.Name(), func([]byte) { n.got <- struct{}{} }, pubsub.WithMaxMessageSize(2*loopSize))
		if err != nil {
			b.Fatal(err)
		}
		hosts, subs = append(hosts, h), append(subs, s)
	}
	for i, h := range hosts {
		for _, c := range loopChords {
			if err := h.Connect(b.Context(), *host.InfoFromHost(hosts[(i+c)%loopNodes])); err != nil {
				b.Fatal(err)
			}
		}
	}
	n.publish = func(ctx context.Context, node int, data []byte) error { return subs[node].Publish(ctx, data) }
	n.wire = counter.n.Load
	return n, func() {
		for i, s := range subs {
			s.Close()
			if err := hosts[i].Close(); err != nil {
				b.Error(err)
			}
		}
	}
}
