package session

import (
	"context"
	"fmt"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"
)

// BenchmarkIdlePeers measures what a connected peer costs that exchanged five
// message types, both ways, and is idle now: heap, stacks and goroutines for
// one end, above plain libp2p hosts that hold the same connections.
//
//	go test -run '^$' -bench BenchmarkIdlePeers -benchtime 1x ./internal/session
func BenchmarkIdlePeers(b *testing.B) {
	const peers = 200
	var types []msgtype.Spec
	for i := range 5 {
		types = append(types, msgtype.Spec{Name: fmt.Sprintf("type%d", i)})
	}
	fast := func(c *Config) { c.StreamIdle, c.PingInterval = 100*time.Millisecond, 100*time.Millisecond }
	hub := newNode(b, newHost(b, "tls"), fast, types...)
	hub.attached = make(chan *Session, peers)
	got, hubGot := newCounter(), newCounter()
	hub.handle = func(_ context.Context, _ string, m [][]byte) error { hubGot.add(len(m)); return nil }
	var nodes []*node
	for range peers {
		n := newNode(b, newHost(b, "tls"), fast, types...)
		n.handle = func(_ context.Context, _ string, m [][]byte) error { got.add(len(m)); return nil }
		nodes = append(nodes, n)
	}
	defer func() {
		hub.close(b)
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(func() { n.close(b) })
		}
		wg.Wait()
	}()
	for _, n := range nodes {
		n.host.Peerstore().AddAddrs(hub.host.ID(), hub.host.Addrs(), peerstore.PermanentAddrTTL)
		ctx := network.WithForceDirectDial(context.Background(), "bench")
		if err := n.host.Connect(ctx, hub.host.Peerstore().PeerInfo(hub.host.ID())); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		plain := measure()
		// Both ends of every session are in this process: half of it is one peer's.
		var sessions []*Session
		for _, n := range nodes {
			got.expect(len(types))
			hubGot.expect(len(types))
			here, there := join(b, n, hub)
			sessions = append(sessions, here, there)
			for _, s := range []*Session{here, there} {
				for _, t := range types {
					if err := s.Send(context.Background(), t.Name, make([]byte, 200), SendOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			<-got.hit
			<-hubGot.hit
		}
		time.Sleep(time.Second) // idle streams close
		with := measure()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(with.heap-plain.heap)/(2*peers), "heap-B/peer")
		b.ReportMetric(float64(with.stack-plain.stack)/(2*peers), "stack-B/peer")
		b.ReportMetric(float64(with.goroutines-plain.goroutines)/(2*peers), "goroutines/peer")
		b.ReportMetric(float64(plain.heap)/(2*peers), "plain-heap-B/peer")
		b.ReportMetric(float64(plain.goroutines)/(2*peers), "plain-goroutines/peer")
		runtime.KeepAlive(sessions)
	}
}

type footprint struct{ heap, stack, goroutines int64 }

func measure() footprint {
	time.Sleep(500 * time.Millisecond)
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return footprint{int64(m.HeapAlloc), int64(m.StackInuse), int64(runtime.NumGoroutine())}
}
