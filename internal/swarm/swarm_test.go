package swarm

import (
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/testnet"
)

func newNet() *testnet.Net {
	return testnet.New(1, testnet.WithLink(testnet.Link{Latency: 40 * time.Millisecond}),
		testnet.WithBandwidth(testnet.Bandwidth{Up: 50e6, Down: 50e6}))
}

// TestSpread: a message goes through a network in which nobody knows everybody.
func TestSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNet()
		var nodes []*node
		for i := range 10 {
			nodes = append(nodes, newNode(t, n, i+1, nil))
			for k := max(0, i-3); k < i; k++ {
				join(t, nodes[k], nodes[i])
			}
		}
		time.Sleep(time.Second)
		began := time.Now()
		data := message(1, 1<<20)
		nodes[0].publish(data)
		for i, nd := range nodes[1:] {
			eventually(t, "the message", 20*time.Second, func() bool { return nd.has(data) })
			t.Logf("node %d after %s: %+v", i+1, nd.at[0].Sub(began), nd.e.Stats().Types["block"])
		}
	})
}
