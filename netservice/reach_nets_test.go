package netservice_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/bench"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// servicesNet is a network of whole services.
type servicesNet struct {
	t     *testing.T
	nw    *nettest.Network
	nodes []*nettest.Node
	got   func(node int, data []byte)
	gone  atomic.Int64 // duplicates of services that crashed
}

var reachType = netservice.Declare("tx", netservice.Raw(), netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless)))

func newServicesNet(t *testing.T, nodes int, got func(int, []byte)) *servicesNet {
	n := &servicesNet{t: t, nw: nettest.New(t, nettest.WithLink(reachLink)), got: got}
	cfgs := make([]netservice.Config, nodes)
	for i := range cfgs {
		cfgs[i] = chain()
		cfgs[i].NoPeerExchange = true
		cfgs[i].ShutdownTimeout = netservice.Duration(time.Second)
	}
	for i, js := range reachGraph(nodes) {
		for _, j := range js {
			cfgs[i].Bootstrap = append(cfgs[i].Bootstrap, addrOfNode(t, j))
		}
	}
	for i, cfg := range cfgs {
		n.nodes = append(n.nodes, n.nw.Add(cfg, quiet()))
		n.subscribe(i, n.nodes[i].Service())
	}
	return n
}

// addrOfNode foretells the address of the i-th node that is added to a network
// made with the default seed: a bootstrap list may hold nodes yet to be made.
func addrOfNode(t *testing.T, i int) string {
	net := testnet.New(1)
	key, err := net.Key(net.Node(i))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s/p2p/%s", testnet.Multiaddr(net.Node(i)), id)
}

func (n *servicesNet) subscribe(i int, s *netservice.NebService) {
	_, err := reachType.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) { n.got(i, m.Value) })
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *servicesNet) start() { n.nw.Start() }
func (n *servicesNet) stop()  { n.nw.Stop() }

func (n *servicesNet) publish(ctx context.Context, i int, data []byte) error {
	return reachType.Broadcast(ctx, n.nodes[i].Service(), data)
}

func (n *servicesNet) crash(i int) {
	n.gone.Add(n.duplicatesAt(i))
	n.nodes[i].Crash()
}

func (n *servicesNet) restart(i int) {
	n.nodes[i].Restart(func(s *netservice.NebService) { n.subscribe(i, s) })
}

func (n *servicesNet) duplicatesAt(i int) int64 {
	return n.nodes[i].Service().Stats().Gossip.Types[reachType.Name()].Duplicates
}

func (n *servicesNet) duplicates() int64 {
	sum := n.gone.Load()
	for i := range n.nodes {
		sum += n.duplicatesAt(i)
	}
	return sum
}

// plainNet is a network of libp2p hosts with go-libp2p-pubsub.
type plainNet struct {
	t     *testing.T
	net   *testnet.Net
	graph [][]int
	hosts []host.Host
	subs  []*bench.PubSub
	got   func(node int, data []byte)
	opts  []pubsub.Option
	gone  atomic.Int64 // duplicates of hosts that crashed
}

func newPlainNet(t *testing.T, nodes int, got func(int, []byte), opts ...pubsub.Option) *plainNet {
	n := &plainNet{
		t: t, net: testnet.New(1, testnet.WithLink(testnet.Link(reachLink))), graph: reachGraph(nodes),
		hosts: make([]host.Host, nodes), subs: make([]*bench.PubSub, nodes), got: got, opts: opts,
	}
	for i := range nodes {
		n.make(i)
	}
	return n
}

func (n *plainNet) make(i int) {
	h, err := n.net.NewHost(n.net.Node(i))
	if err != nil {
		n.t.Fatal(err)
	}
	n.hosts[i] = h
	if n.subs[i], err = bench.NewPubSub(h, "tx", func(data []byte) { n.got(i, data) }, n.opts...); err != nil {
		n.t.Fatal(err)
	}
}

// dial connects node i as the graph has it.
func (n *plainNet) dial(i int) {
	var wg sync.WaitGroup
	for _, j := range n.graph[i] {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
			defer cancel()
			_ = n.hosts[i].Connect(ctx, testnet.Info(n.hosts[j]))
		})
	}
	wg.Wait()
}

func (n *plainNet) start() {
	for i := range n.hosts {
		n.dial(i)
	}
}

func (n *plainNet) publish(ctx context.Context, i int, data []byte) error {
	return n.subs[i].Publish(ctx, data)
}

func (n *plainNet) crash(i int) {
	n.net.Crash(n.net.Node(i))
	n.subs[i].Close()
	_ = n.hosts[i].Close()
	n.gone.Add(n.subs[i].Duplicates())
}

func (n *plainNet) restart(i int) {
	n.net.Restart(n.net.Node(i))
	n.make(i)
	n.dial(i)
}

func (n *plainNet) duplicates() int64 {
	sum := n.gone.Load()
	for _, s := range n.subs {
		sum += s.Duplicates()
	}
	return sum
}

func (n *plainNet) stop() {
	for i, s := range n.subs {
		s.Close()
		_ = n.hosts[i].Close()
	}
}
