package netservice_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
)

// What a node that shakes hands with its best block, spreads blocks with
// validation, and catches up, has to write beside its chain: from here to the end of
// catchUp, less than ninety lines.
var (
	chainBlock  = netservice.Declare("block", netservice.JSON[Block]())
	chainBlocks = netservice.DeclareStream("blocks", netservice.JSON[[2]uint64](), netservice.JSON[Block]())
)

type chainNode struct {
	*toyChain
	svc *netservice.NebService
}

// start runs a node that keeps up with the network until ctx ends.
func (c *toyChain) start(ctx context.Context, cfg netservice.Config) (*chainNode, error) {
	svc, err := netservice.NewNebService(cfg, quiet(), netservice.WithPayload(func() []byte {
		return binary.BigEndian.AppendUint64(nil, c.height())
	}))
	if err != nil {
		return nil, err
	}
	n := &chainNode{c, svc}
	_, sub := chainBlock.Subscribe(svc, func(_ context.Context, m netservice.Received[Block]) { n.take(m.Value) })
	_, srv := chainBlocks.Serve(svc, func(_ context.Context, _ peer.ID, r [2]uint64) iter.Seq2[Block, error] {
		return func(yield func(Block, error) bool) {
			for h := r[0]; h < r[0]+r[1] && h <= n.height() && yield(Block{h}, nil); h++ {
			}
		}
	})
	val := chainBlock.Validate(svc, func(_ context.Context, m netservice.Received[Block]) netservice.Verdict {
		if !m.Value.valid() {
			return netservice.Reject()
		}
		if m.Value.Height > n.height()+1 {
			return netservice.Defer(fmt.Sprint(m.Value.Height - 1)) // until its parent is here
		}
		return netservice.Accept()
	})
	if err := errors.Join(sub, srv, val); err != nil {
		return nil, err
	}
	met := svc.SubscribePeers(netservice.PeerConnected)
	if err := svc.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer met.Close()
		for range met.Events() { // ends with the service
			if err := n.catchUp(ctx); err != nil {
				return
			}
		}
	}()
	return n, nil
}

// take is where every block ends, however it came.
func (n *chainNode) take(b Block) {
	n.add(b)
	n.svc.Resume(fmt.Sprint(b.Height))
}

// catchUp fetches what the best of the peers had when it shook hands.
func (n *chainNode) catchUp(ctx context.Context) error {
	best := uint64(0)
	for _, p := range n.svc.Peers() {
		if len(p.Payload) == 8 {
			best = max(best, binary.BigEndian.Uint64(p.Payload))
		}
	}
	blocks := netservice.Download[Block]{
		From: min(n.height(), best) + 1, To: best + 1,
		Fetch: func(ctx context.Context, p peer.ID, from, count uint64) iter.Seq2[Block, error] {
			return chainBlocks.Call(ctx, n.svc, p, [2]uint64{from, count})
		},
		Verify: func(height uint64, b Block) error { return b.is(height) },
	}
	for b, err := range blocks.Run(ctx, n.svc) {
		if err != nil {
			return err
		}
		n.take(b)
	}
	return nil
}

func ExampleDownload() {
	ctx, cancel := exampleContext()
	defer cancel()
	full := newToyChain(1000)
	old, err := full.start(ctx, exampleConfig())
	if err != nil {
		panic(err)
	}
	defer old.svc.Stop()
	fresh := newToyChain(0)
	late, err := fresh.start(ctx, exampleConfig(old.svc.Node().Addrs()[0].String()))
	if err != nil {
		panic(err)
	}
	defer late.svc.Stop()
	fresh.await(1000)
	fmt.Println("caught up with block", fresh.height())
	full.add(Block{1001})
	if err := chainBlock.Broadcast(ctx, old.svc, Block{1001}); err != nil {
		panic(err)
	}
	fresh.await(1001)
	fmt.Println("follows with block", fresh.height())
	// Output:
	// caught up with block 1000
	// follows with block 1001
}

func ExampleDeclareMethod() {
	ctx, cancel := exampleContext()
	defer cancel()
	getBlock := netservice.DeclareMethod("getblock", netservice.JSON[uint64](), netservice.JSON[Block]())
	a, b, stop := pair(ctx, func(a, _ *netservice.NebService) {
		if _, err := getBlock.Serve(a, func(_ context.Context, _ peer.ID, height uint64) (Block, error) {
			if height > 100 {
				return Block{}, netservice.ErrNotFound
			}
			return Block{Height: height}, nil
		}); err != nil {
			panic(err)
		}
	})
	defer stop()
	for _, height := range []uint64{12, 120} {
		block, err := getBlock.Call(ctx, b, a.Node().ID(), height)
		fmt.Println(block.Height, errors.Is(err, netservice.ErrNotFound))
	}
	_, from, err := getBlock.Any(ctx, b, 7, netservice.Policy[Block]{})
	fmt.Println(from == a.Node().ID(), err)
	// Output:
	// 12 false
	// 0 true
	// true <nil>
}

func ExampleDeclareStream() {
	ctx, cancel := exampleContext()
	defer cancel()
	numbers := netservice.DeclareStream("numbers", netservice.JSON[int](), netservice.JSON[int]())
	a, b, stop := pair(ctx, func(a, _ *netservice.NebService) {
		if _, err := numbers.Serve(a, func(_ context.Context, _ peer.ID, from int) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for i := from; yield(i, nil); i++ { // until the caller has enough
				}
			}
		}); err != nil {
			panic(err)
		}
	})
	defer stop()
	for n, err := range numbers.Call(ctx, b, a.Node().ID(), 40) {
		if err != nil {
			panic(err)
		}
		fmt.Println(n)
		if n == 42 {
			break
		}
	}
	// Output:
	// 40
	// 41
	// 42
}

func ExampleDeclareUpload() {
	ctx, cancel := exampleContext()
	defer cancel()
	longest := netservice.DeclareUpload("longest", netservice.Raw(), netservice.JSON[int]())
	a, b, stop := pair(ctx, func(a, _ *netservice.NebService) {
		if _, err := longest.Serve(a, func(_ context.Context, _ peer.ID, words iter.Seq2[[]byte, error]) (most int, err error) {
			for word, err := range words {
				if err != nil {
					return 0, err
				}
				most = max(most, len(word))
			}
			return most, nil
		}); err != nil {
			panic(err)
		}
	})
	defer stop()
	n, err := longest.Call(ctx, b, a.Node().ID(), func(yield func([]byte, error) bool) {
		for _, word := range []string{"one", "three", "five"} {
			if !yield([]byte(word), nil) {
				return
			}
		}
	})
	fmt.Println(n, err)
	// Output: 5 <nil>
}

// toyChain is a chain whose blocks have nothing but a height.
type toyChain struct {
	mu  sync.Mutex // guards top
	top uint64
	at  chan struct{}
}

func newToyChain(top uint64) *toyChain { return &toyChain{top: top, at: make(chan struct{}, 1)} }

func (c *toyChain) height() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.top
}

func (c *toyChain) add(b Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.Height == c.top+1 {
		c.top++
		select {
		case c.at <- struct{}{}:
		default:
		}
	}
}

func (c *toyChain) await(height uint64) {
	for limit := time.After(30 * time.Second); c.height() < height; {
		select {
		case <-c.at:
		case <-limit:
			panic("not there")
		}
	}
}

func (b Block) valid() bool { return b.Height > 0 }

func (b Block) is(height uint64) error {
	if b.Height != height {
		return fmt.Errorf("block %d in place of %d", b.Height, height)
	}
	return nil
}
