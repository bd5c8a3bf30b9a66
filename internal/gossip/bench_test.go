package gossip

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-nebnet/nebnet/internal/testnet"
)

// BenchmarkBroadcast is one message from Publish to the other side's Deliver, two
// nodes, no latency, up to 256 messages under way.
func BenchmarkBroadcast(b *testing.B) {
	for _, size := range []int{128, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := testnet.New(1)
			window := make(chan struct{}, 256)
			var es [2]*Engine
			for i := range es {
				h := n.Host(b, n.Node(i+1), hostOptions()...)
				e, err := New(Config{Host: h, Network: testNetwork, Identity: Signed,
					Deliver: func(context.Context, Message, bool) error { <-window; return nil }})
				must(b, err)
				b.Cleanup(func() { must(b, e.Close(context.Background())) })
				must(b, e.Start())
				must(b, e.Declare(Topic{Type: "tx", OnFull: WaitWhenFull}))
				must(b, e.Join("tx"))
				es[i] = e
				if i == 1 {
					must(b, h.Connect(b.Context(), testnet.Info(es[0].cfg.Host)))
				}
			}
			data := make([]byte, size)
			window <- struct{}{}
			must(b, es[0].Publish(b.Context(), "tx", data)) // waits for the mesh
			for range cap(window) {                         // all places are free: the mesh has formed
				window <- struct{}{}
			}
			for range cap(window) {
				<-window
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				window <- struct{}{}
				must(b, es[0].Publish(b.Context(), "tx", data))
			}
		})
	}
}
