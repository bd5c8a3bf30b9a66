package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
)

// block and price are what the nodes tell each other.
type block struct {
	Height int    `json:"height"`
	Miner  string `json:"miner"`
}

type price struct {
	Pair  string  `json:"pair"`
	Tick  int     `json:"tick"` // tells prices of equal value apart
	Value float64 `json:"value"`
}

// The two message types, each declared once. Of blocks none may be lost: their
// senders wait when their subscription cannot follow. Of prices the oldest are dropped
// then.
var (
	newBlock = netservice.Declare("newblock", netservice.JSON[block](),
		netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless)))
	newPrice = netservice.Declare("price", netservice.JSON[price](),
		netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.DropOldest)))
)

const (
	blockEvery = 500 * time.Millisecond // one block in the network
	priceEvery = 20 * time.Millisecond  // one price per node
	meshWait   = 20 * time.Second       // for all nodes to find each other
)

// node is one of the five, with what it has seen.
type node struct {
	svc            *netservice.NebService
	sentBlocks     atomic.Int64
	sentPrices     atomic.Int64
	receivedBlocks atomic.Int64
	receivedPrices atomic.Int64
	last           view
}

type network struct {
	nodes []*node
	began time.Time
}

// startNetwork starts n nodes. The first is the boot node of the others. When ctx
// ends before all have found each other, that is no error: the user had enough.
func startNetwork(ctx context.Context, n int, pages *pages, out io.Writer) (*network, error) {
	net := &network{}
	var boot []string
	for i := range n {
		nd, err := startNode(listenOn(i), boot, i == n-1, pages, out)
		if err != nil {
			return nil, errors.Join(err, net.stop())
		}
		net.nodes = append(net.nodes, nd)
		if i == 0 {
			for _, a := range nd.svc.Node().Addrs() {
				boot = append(boot, a.String())
			}
		}
	}
	if err := net.waitForMesh(ctx); err != nil && ctx.Err() == nil {
		return nil, errors.Join(err, net.stop())
	}
	net.began = time.Now()
	return net, nil
}

// listenOn is where the i-th node listens: the boot node on TCP and QUIC, of the
// others every second one on one of them, so that both are used. Where there is a
// choice, libp2p takes QUIC.
func listenOn(i int) []string {
	both := []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	if i == 0 {
		return both
	}
	return both[i%2 : i%2+1]
}

func startNode(listen, boot []string, prints bool, pages *pages, out io.Writer) (*node, error) {
	log := logrus.New()
	log.SetOutput(os.Stderr)
	log.SetLevel(logrus.WarnLevel)
	svc, err := netservice.NewNebService(netservice.Config{
		ChainID:   "quickstart",
		Listen:    listen,
		Bootstrap: boot,
	}, netservice.WithLogger(log))
	if err != nil {
		return nil, err
	}
	n := &node{svc: svc}
	pages.add(svc)
	if _, err := newBlock.Subscribe(svc, func(context.Context, netservice.Received[block]) { n.receivedBlocks.Add(1) }); err != nil {
		return nil, err
	}
	if _, err := newPrice.Subscribe(svc, func(context.Context, netservice.Received[price]) { n.receivedPrices.Add(1) }); err != nil {
		return nil, err
	}
	if prints {
		if err := svc.Register(&announcer{w: out}); err != nil {
			return nil, err
		}
	}
	return n, svc.Start()
}

// waitForMesh waits until every node has every other one as a peer, and passes
// both types on to it.
func (net *network) waitForMesh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meshWait)
	defer cancel()
	for _, n := range net.nodes {
		if err := n.svc.WaitForPeers(ctx, len(net.nodes)-1); err != nil {
			return fmt.Errorf("a node found %d of %d peers: %w", len(n.svc.Peers()), len(net.nodes)-1, err)
		}
	}
	if !await(ctx, net.meshed) {
		return fmt.Errorf("not every node passes both types on to every other one: %w", ctx.Err())
	}
	return nil
}

// meshed tells whether every node passes both types on to every other one.
func (net *network) meshed() bool {
	for _, n := range net.nodes {
		types := n.svc.Stats().Gossip.Types
		for _, name := range []string{newBlock.Name(), newPrice.Name()} {
			if types[name].Mesh < len(net.nodes)-1 {
				return false
			}
		}
	}
	return true
}

// talk has all nodes send until ctx ends, and calls show once a second.
func (net *network) talk(ctx context.Context, show func(elapsed time.Duration)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, n := range net.nodes {
		wg.Go(func() { n.quote(ctx, i) })
	}
	wg.Go(func() { net.mine(ctx) })

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			show(time.Since(net.began))
		}
	}
}

// mine has the nodes make blocks in turn.
func (net *network) mine(ctx context.Context) {
	each(ctx, blockEvery, func(height int) {
		n := net.nodes[height%len(net.nodes)]
		b := block{Height: height, Miner: short(n.svc.Node().ID().String())}
		if newBlock.Broadcast(ctx, n.svc, b) == nil {
			n.sentBlocks.Add(1)
		}
	})
}

// quote has one node tell a price now and again.
func (n *node) quote(ctx context.Context, i int) {
	each(ctx, priceEvery, func(k int) {
		p := price{Pair: fmt.Sprintf("NEB/%c", 'A'+i), Tick: k, Value: 100 + float64(k%50)/10}
		if newPrice.Broadcast(ctx, n.svc, p) == nil {
			n.sentPrices.Add(1)
		}
	})
}

func each(ctx context.Context, every time.Duration, do func(k int)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for k := 1; ; k++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do(k)
		}
	}
}

// await waits until something is true. It is false when ctx ends before.
func await(ctx context.Context, something func() bool) (ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	each(ctx, 20*time.Millisecond, func(int) {
		if ok = ok || something(); ok {
			cancel()
		}
	})
	return ok
}

// stop stops all nodes, and reports every error.
func (net *network) stop() error {
	errs := make([]error, len(net.nodes))
	var wg sync.WaitGroup
	for i, n := range net.nodes {
		wg.Go(func() { errs[i] = n.svc.Stop() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
