package main

// Teaches: the whole of the wiring. Declare message types and methods once; give
// every type a validator; let every way in (broadcast, own blocks, sync) end in one
// function that tells the network layer what has changed.

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
)

// What nodes tell each other, and what they ask each other for.
var (
	newTx    = netservice.Declare("tx", netservice.JSON[transaction]())
	newBlock = netservice.Declare("block", netservice.JSON[*block]())

	getHeaders = netservice.DeclareStream("headers", netservice.JSON[[]hash](), netservice.JSON[header]())
	getBlocks  = netservice.DeclareStream("blocks", netservice.JSON[[]hash](), netservice.JSON[*block]())
)

// status is the part of the handshake that is the application's: what we have. It
// is renewed with each new head, so that peers know at any time whether to fetch
// from us.
type status struct {
	Height uint64 `json:"height"`
	Head   hash   `json:"head"`
}

// node is one node of the chain.
type node struct {
	svc   *netservice.NebService
	chain *chain
	pool  *mempool
	out   io.Writer // progress of sync; nil: none

	sync  chan status        // a peer has more than we have
	pause context.CancelFunc // stops making blocks
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

// config is that of every node of this chain. The genesis keeps others out.
func config(listen string, bootstrap ...string) netservice.Config {
	return netservice.Config{
		ChainID: "toy", Genesis: genesisID, Listen: []string{listen}, Bootstrap: bootstrap, Agent: "toychain/1",
	}
}

// newNode is a node on what a directory holds. Its options are for the service that
// attach takes.
func newNode(dir string, sync bool) (*node, error) {
	c, err := openChain(dir, sync)
	return &node{chain: c, pool: &mempool{pending: map[hash]transaction{}}, sync: make(chan status, 1)}, err
}

func (n *node) options() []netservice.Option {
	return []netservice.Option{
		netservice.WithSlog(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))),
		netservice.WithPayload(func() []byte {
			data, _ := json.Marshal(n.status())
			return data
		}),
		netservice.WithPeerCheck(func(_ context.Context, p netservice.PeerHello) error {
			var s status
			return json.Unmarshal(p.Payload, &s)
		}),
	}
}

func (n *node) status() status {
	h := n.chain.head()
	return status{h.Height, h.hash()}
}

// attach registers everything with a service that has not been started. After
// Start, go on with begin.
func (n *node) attach(svc *netservice.NebService) error {
	n.svc = svc
	svc.Inspector() // its page tells what happens from now on
	_, blocks := newBlock.Subscribe(svc, func(_ context.Context, m netservice.Received[*block]) {
		n.take(m.Value)
	})
	_, headers := getHeaders.Serve(svc, n.headers)
	_, bodies := getBlocks.Serve(svc, n.bodies)
	return errors.Join(blocks, headers, bodies,
		svc.Register(n.pool),
		newTx.Validate(svc, func(_ context.Context, m netservice.Received[transaction]) netservice.Verdict {
			if !m.Value.valid() {
				return netservice.Reject()
			}
			return netservice.Accept()
		}),
		newBlock.Validate(svc, n.judge))
}

// judge decides about a block that has been broadcast. What is wrong by itself is a
// lie. Without its parent nothing more can be said: it waits, under the parent's
// name, for take.
func (n *node) judge(_ context.Context, m netservice.Received[*block]) netservice.Verdict {
	b := m.Value
	if b == nil || !b.valid(time.Now()) {
		return netservice.Reject()
	}
	parent, ok := n.chain.header(b.Parent)
	if !ok {
		n.behind(status{b.Height, b.hash()})
		return netservice.Defer(string(b.Parent))
	}
	if !b.follows(parent) {
		return netservice.Reject()
	}
	return netservice.Accept()
}

// take is where every block ends, however it came.
func (n *node) take(b *block) error {
	news, err := n.chain.add(b, true)
	if news {
		_, state := n.chain.view()
		n.pool.forget(state)
		n.svc.Resume(string(b.hash())) // those that wait for this one
		_ = n.svc.RenewPayload()       // fails before Start and after Stop, when there is nobody to tell
	}
	return err
}

// headers and bodies are what peers are answered, one by one as they take it.
func (n *node) headers(_ context.Context, _ peer.ID, locator []hash) iter.Seq2[header, error] {
	return func(yield func(header, error) bool) {
		for _, h := range n.chain.after(locator) {
			if !yield(h, nil) {
				return
			}
		}
	}
}

func (n *node) bodies(_ context.Context, _ peer.ID, ids []hash) iter.Seq2[*block, error] {
	return func(yield func(*block, error) bool) {
		for _, id := range ids {
			h, _ := n.chain.header(id)
			b, err := n.chain.store.get(h.Height, id)
			if err != nil {
				err = netservice.ErrNotFound
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// blockHeaders of a validator, or -1, go ahead of blocks above 256 KiB, so that nodes pass these
// on while they come. The signature covers the block's digest: nobody can put the header
// of a genuine block before something else.
func blockHeaders(validator int) netservice.Headers {
	var key crypto.PrivKey // nil: it makes none, and checks those of others
	var validators []peer.ID
	for i, k := range validatorKeys {
		priv, _ := crypto.UnmarshalEd25519PrivateKey(k) // none of ours fails
		id, _ := peer.IDFromPrivateKey(priv)
		validators = append(validators, id)
		if i == validator {
			key = priv
		}
	}
	return netservice.SignedHeaders(key, func(author peer.ID) bool { return slices.Contains(validators, author) })
}

// begin runs what a node does by itself, until end.
func (n *node) begin(validator int) {
	_ = n.svc.SetHeaders(newBlock.Name(), blockHeaders(validator)) // fails for types that are not broadcast
	var ctx, making context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	making, n.pause = context.WithCancel(ctx)
	n.wg.Go(func() { n.keepUp(ctx) })
	if validator >= 0 {
		n.wg.Go(func() { n.propose(making, validator) })
	}
}

// end waits for everything that begin started.
func (n *node) end() {
	n.stop()
	n.wg.Wait()
}

// propose makes a block in each of a validator's slots.
func (n *node) propose(ctx context.Context, validator int) {
	key, turns := validatorKeys[validator], uint64(len(validatorKeys))
	for {
		slot := slotAt(time.Now()) + 1
		slot += (uint64(validator) + turns - slot%turns) % turns
		select {
		case <-time.After(time.Until(time.Unix(0, int64(slot)*int64(slotTime)))):
		case <-ctx.Done():
			return
		}
		parent, state := n.chain.view()
		if parent.Slot >= slot {
			continue
		}
		b := propose(parent, slot, n.pool.pick(state), key)
		if n.take(b) == nil {
			_ = newBlock.Broadcast(ctx, n.svc, b) // with nobody to tell it to, it is fetched later
		}
	}
}

// startNode runs a node on what a directory holds; close ends it.
func startNode(dir string, validator int, cfg netservice.Config, out io.Writer) (*node, error) {
	n, err := newNode(dir, true)
	if err != nil {
		return nil, err
	}
	n.out, cfg.DataDir = out, dir
	svc, err := netservice.NewNebService(cfg, n.options()...)
	if err == nil {
		err = n.attach(svc)
	}
	if err == nil {
		err = svc.Start()
	}
	if err != nil {
		return nil, errors.Join(err, n.chain.store.close())
	}
	n.begin(validator)
	return n, nil
}

func (n *node) close() error {
	n.end()
	return errors.Join(n.svc.Stop(), n.chain.store.close())
}
