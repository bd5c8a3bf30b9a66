package reqresp

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testNetwork = "0123456789abcdef"

// node is a host with an Engine and the least of a peer set: whoever is connected
// and not a stranger has a session.
type node struct {
	host.Host
	e *Engine

	mu       sync.Mutex // guards what follows
	stranger map[peer.ID]bool
	faults   []Fault
	outcomes []Outcome
}

func (n *node) SessionConn(p peer.ID) network.Conn {
	n.mu.Lock()
	stranger := n.stranger[p]
	n.mu.Unlock()
	if cs := n.Network().ConnsToPeer(p); len(cs) > 0 && !stranger {
		return cs[0]
	}
	return nil
}

// book is the offers of all nodes of a test, which all know at once.
type book struct {
	mu     sync.Mutex // guards offers
	offers map[peer.ID][]offer
}

type offer struct {
	spec  Spec
	taken bool
}

func newBook() *book { return &book{offers: make(map[peer.ID][]offer)} }

// shelf is one node's part of the book.
type shelf struct {
	b  *book
	id peer.ID
}

func (s shelf) Offer(spec *Spec) (uint32, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for i, o := range s.b.offers[s.id] {
		if o.spec.Name == spec.Name {
			s.b.offers[s.id][i] = offer{*spec, true}
			return uint32(i + 1), nil
		}
	}
	s.b.offers[s.id] = append(s.b.offers[s.id], offer{*spec, true})
	return uint32(len(s.b.offers[s.id])), nil
}

func (s shelf) Withdraw(spec *Spec) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for i, o := range s.b.offers[s.id] {
		if o.spec.Name == spec.Name {
			s.b.offers[s.id][i].taken = false
		}
	}
}

func (s shelf) Offered(p peer.ID, name string) (uint32, Kind, bool) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for i, o := range s.b.offers[p] {
		if o.spec.Name == name {
			return uint32(i + 1), o.spec.Kind, o.taken
		}
	}
	return 0, 0, false
}

func (n *node) Admit(p peer.ID) bool { return n.SessionConn(p) != nil }

// part ends the session with p as far as the engine knows.
func (n *node) part(p peer.ID) {
	n.mu.Lock()
	n.stranger[p] = true
	n.mu.Unlock()
	n.e.SessionEnded(p)
}

func (n *node) violations() []Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faults
}

func (n *node) reported() []Outcome {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.outcomes
}

func (n *node) count(name string) int64 { return n.e.obs.Counter(name).Count() }

func newNode(tb testing.TB, h host.Host, b *book, change func(*Config)) *node {
	tb.Helper()
	n := &node{Host: h, stranger: make(map[peer.ID]bool)}
	cfg := Config{
		Network: testNetwork, Peers: n, Offers: shelf{b, h.ID()}, Obs: obs.Discard(),
		Penalise: func(_ peer.ID, f Fault) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.faults = append(n.faults, f)
		},
		Report: func(_ peer.ID, o Outcome) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.outcomes = append(n.outcomes, o)
		},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if n.e, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	if err := n.e.Start(h, nil); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.e.Close(ctx); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return n
}

// world is a simulated network whose nodes are made when asked for.
type world struct {
	t   *testing.T
	net *testnet.Net
	*book
	n int
}

func (w *world) node(change func(*Config)) *node {
	w.t.Helper()
	w.n++
	return newNode(w.t, w.net.Host(w.t, w.net.Node(w.n)), w.book, change)
}

// pair is two nodes with a session.
func (w *world) pair(change func(*Config)) (a, b *node) {
	w.t.Helper()
	a, b = w.node(change), w.node(change)
	w.connect(a, b)
	return a, b
}

func (w *world) connect(a, b *node) {
	w.t.Helper()
	if err := a.Connect(w.t.Context(), testnet.Info(b.Host)); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// inBubble runs a test in virtual time, with links of 10 ms. On one processor:
// under the race detector, timers of a bubble that fire on two at once crash the
// test (golang/go#78156).
func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		f(t, &world{t: t, book: newBook(), net: testnet.New(1, testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond}))})
	})
}

// loopback is two nodes over TCP with a session.
func loopback(tb testing.TB, change func(*Config)) (a, b *node) {
	tb.Helper()
	offers := newBook()
	one := func() *node {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { h.Close() })
		return newNode(tb, h, offers, change)
	}
	a, b = one(), one()
	if err := a.Connect(tb.Context(), *host.InfoFromHost(b.Host)); err != nil {
		tb.Fatal(err)
	}
	return a, b
}

func serve(tb testing.TB, n *node, spec *Spec, h Handler) {
	tb.Helper()
	stop, err := n.e.Serve(spec, h)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
}

// unary is a handler that is a function of the request.
func unary(f func(ctx context.Context, req []byte) ([]byte, error)) Handler {
	return Handler{Unary: func(ctx context.Context, _ peer.ID, req []byte) ([]byte, error) { return f(ctx, req) }}
}

func streaming(f func(ctx context.Context, req []byte, yield func([]byte) bool) error) Handler {
	return Handler{Stream: func(ctx context.Context, _ peer.ID, req []byte) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			if err := f(ctx, req, func(b []byte) bool { return yield(b, nil) }); err != nil {
				yield(nil, err)
			}
		}
	}}
}

var echo = unary(func(_ context.Context, req []byte) ([]byte, error) { return req, nil })

// code is the code of a call's error that the peer, or a limit, decided; 0 for
// others.
func code(err error) Code {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return 0
	}
	return e.Code
}

func isTransport(err error) bool {
	_, ok := errors.AsType[*TransportError](err)
	return ok
}
