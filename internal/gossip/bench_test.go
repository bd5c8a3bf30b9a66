package gossip

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// BenchmarkBroadcast is one message from Publish to the other side's receiver, two
// nodes on TCP over loopback, up to 256 messages under way: the engine, and plain
// go-libp2p-pubsub, whose lines are to be compared within one run. A payload is made
// for each message where Publish keeps it, as that of go-libp2p-pubsub does:
//
//	go test ./internal/gossip -run xxx -bench Broadcast -benchtime 300000x
//
// So many, because books that grow at first cost more than those that are full.
func BenchmarkBroadcast(b *testing.B) {
	for _, signed := range []bool{false, true} {
		for _, size := range []int{128, 1 << 10, 64 << 10} {
			for _, system := range []string{"ours", "plain"} {
				b.Run(fmt.Sprintf("%s/%d/%s", signing(signed), size, system), func(b *testing.B) {
					benchmarkBroadcast(b, system, signed, size)
				})
			}
		}
	}
}

// BenchmarkTopics broadcasts over many topics in turn.
//
//	go test ./internal/gossip -run xxx -bench Topics -benchtime 100000x -count 5
func BenchmarkTopics(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			window := make(chan struct{}, 256)
			var es [2]*Engine
			net := testnet.New(1)
			for i := range es {
				h := net.Host(b, net.Node(i+1), hostOptions()...)
				es[i] = benchEngine(b, h, Unsigned, n, func() { <-window })
				if i == 1 {
					must(b, h.Connect(b.Context(), testnet.Info(es[0].cfg.Host)))
				}
			}
			data := make([]byte, 1<<10)
			k := uint64(0)
			publish := func() error {
				k++
				binary.BigEndian.PutUint64(data, k)
				return es[0].Publish(b.Context(), fmt.Sprint("tx", k%uint64(n)), data)
			}
			measure(b, window, n, publish)
		})
	}
}

func benchEngine(b *testing.B, h host.Host, id Identity, topics int, got func()) *Engine {
	e, err := New(Config{Host: h, Network: testNetwork, Identity: id,
		Deliver: func(context.Context, Message, bool) error { got(); return nil }})
	must(b, err)
	b.Cleanup(func() { must(b, e.Close(context.Background())) })
	must(b, e.Start())
	for i := range topics {
		must(b, e.Set(msgtype.Spec{Name: fmt.Sprint("tx", i)}, true, nil))
	}
	return e
}

func benchmarkBroadcast(b *testing.B, system string, signed bool, size int) {
	window := make(chan struct{}, 256)
	var publish func(data []byte) error
	var first host.Host
	for i := range 2 {
		h := loopbackHost(b)
		got := func() { <-window }
		var say func(data []byte) error
		if system == "ours" {
			e := benchEngine(b, h, identity(signed), 1, got)
			say = func(data []byte) error { return e.Publish(b.Context(), "tx0", data) }
		} else {
			// Its queues lose messages by default beyond 16 under way.
			opts := append(plainOptions(signed), pubsub.WithPeerOutboundQueueSize(4096), pubsub.WithValidateQueueSize(4096))
			p, err := bench.NewPubSub(h, reachTopic, func([]byte) { got() }, opts...)
			must(b, err)
			b.Cleanup(p.Close)
			say = func(data []byte) error { return p.Publish(b.Context(), data) }
		}
		if i == 0 {
			first, publish = h, say
		} else {
			must(b, h.Connect(b.Context(), testnet.Info(first)))
		}
	}
	k := uint64(0)
	data := make([]byte, size)
	measure(b, window, 1, func() error {
		if system == "plain" {
			data = make([]byte, size)
		}
		k++
		binary.BigEndian.PutUint64(data, k)
		return publish(data)
	})
	b.SetBytes(int64(size))
}

// measure publishes as long as it is asked to. Processor time is that of both nodes.
func measure(b *testing.B, window chan struct{}, topics int, publish func() error) {
	// Until a message arrives in each topic the mesh has not formed.
	for arrived := 0; arrived < topics; {
		window <- struct{}{}
		must(b, publish())
		for deadline := time.Now().Add(300 * time.Millisecond); len(window) > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if len(window) > 0 {
			select {
			case <-window: // it was lost
			default:
			}
			continue
		}
		arrived++
	}
	time.Sleep(2 * time.Second)
	b.ReportAllocs()
	begin := bench.CPU()
	n := 0
	for b.Loop() {
		window <- struct{}{}
		must(b, publish())
		n++
	}
	for range cap(window) {
		window <- struct{}{}
	}
	b.ReportMetric(float64((bench.CPU()-begin).Nanoseconds())/float64(n)/1000, "cpu-us/op")
	for range cap(window) {
		<-window
	}
}
