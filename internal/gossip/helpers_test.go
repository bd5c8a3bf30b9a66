package gossip

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/security/noise"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

const testNetwork = "0011223344556677"

// box collects what an engine delivers.
type box struct {
	mu   sync.Mutex // guards got and refuse
	got  map[string]int
	msgs []Message
	// refuse, if set, decides on each message.
	refuse func(ctx context.Context, m Message, wait bool) error
}

func newBox() *box { return &box{got: make(map[string]int)} }

func (b *box) deliver(ctx context.Context, m Message, wait bool) error {
	b.mu.Lock()
	refuse := b.refuse
	b.mu.Unlock()
	if refuse != nil {
		if err := refuse(ctx, m, wait); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got[string(m.Data)]++
	b.msgs = append(b.msgs, m)
	return nil
}

func (b *box) setRefuse(f func(ctx context.Context, m Message, wait bool) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = f
}

func (b *box) count(data string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[data]
}

func (b *box) total() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, k := range b.got {
		n += k
	}
	return n
}

func (b *box) last() Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.msgs[len(b.msgs)-1]
}

// node is a host with an engine.
type node struct {
	h   host.Host
	e   *Engine
	box *box
}

// world is a network in a bubble.
type world struct {
	t   *testing.T
	net *testnet.Net
	n   int
}

// bubble is synctest.Test. Under the race detector it runs on one processor:
// timers of a bubble that fire on two corrupt the detector's state and crash the
// test (golang/go#78156).
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if testkit.Race {
		prev := runtime.GOMAXPROCS(1)
		defer runtime.GOMAXPROCS(prev)
	}
	synctest.Test(t, f)
}

// inBubble runs f over a network with 50 ms links.
func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		f(t, &world{t: t, net: testnet.New(1, testnet.WithLink(testnet.Link{Latency: 50 * time.Millisecond}))})
	})
}

func (w *world) host() host.Host {
	w.t.Helper()
	w.n++
	return w.net.Host(w.t, w.net.Node(w.n), hostOptions()...)
}

func hostOptions() []libp2p.Option {
	return []libp2p.Option{
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.Security(noise.ID, noise.New),
	}
}

// declared is a message type of a node.
type declared struct {
	msgtype.Spec
	validate Validator
}

// node starts a host and an engine that has joined the type "tx"; edit may
// change both first.
func (w *world) node(edit func(c *Config, tx *declared)) *node {
	w.t.Helper()
	n := &node{h: w.host(), box: newBox()}
	cfg := Config{Host: n.h, Network: testNetwork, Deliver: n.box.deliver}
	tx := declared{Spec: msgtype.Spec{Name: "tx"}}
	if edit != nil {
		edit(&cfg, &tx)
	}
	e, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n.e = e
	w.t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	must(w.t, e.Start())
	must(w.t, e.Set(tx.Spec, true, tx.validate))
	return n
}

// restart puts a new engine on a node's host.
func (w *world) restart(n *node, cfg Config, validate Validator) *node {
	w.t.Helper()
	must(w.t, n.e.Close(w.t.Context()))
	again := &node{h: n.h, box: newBox()}
	cfg.Host, cfg.Network, cfg.Deliver = n.h, testNetwork, again.box.deliver
	var err error
	again.e, err = New(cfg)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, again.e.Close(context.Background())) })
	must(w.t, again.e.Start())
	must(w.t, again.e.Set(msgtype.Spec{Name: "tx"}, true, validate))
	return again
}

func (w *world) nodes(k int, edit func(c *Config, tx *declared)) []*node {
	w.t.Helper()
	ns := make([]*node, k)
	for i := range ns {
		ns[i] = w.node(edit)
	}
	return ns
}

func (w *world) connect(a, b host.Host) {
	w.t.Helper()
	if err := a.Connect(w.t.Context(), testnet.Info(b)); err != nil {
		w.t.Fatal(err)
	}
}

// full connects everybody to everybody.
func (w *world) full(ns []*node) {
	w.t.Helper()
	for i, a := range ns {
		for _, b := range ns[:i] {
			w.connect(a.h, b.h)
		}
	}
}

// settle lets meshes form.
func settle() { time.Sleep(5 * time.Second) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) publish(t testing.TB, data string) {
	t.Helper()
	if err := n.e.Publish(t.Context(), "tx", []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func wantOnce(t testing.TB, ns []*node, data string) {
	t.Helper()
	for i, n := range ns {
		if c := n.box.count(data); c != 1 {
			t.Errorf("node %d has %.20q %d times", i, data, c)
		}
	}
}

func payload(i, size int) string {
	b := make([]byte, size)
	copy(b, fmt.Sprintf("message %d ", i))
	return string(b)
}
