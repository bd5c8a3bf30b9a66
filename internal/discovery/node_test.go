package discovery

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

const testNetwork = "0123456789abcdef"

// node is a host with an Exchange and the least of a peer manager: whoever is
// connected has a session, whoever is found is dialled.
type node struct {
	host.Host
	x    *Exchange
	want atomic.Int64 // peers

	mu       sync.Mutex // guards the fields below
	sessions map[peer.ID]bool
	found    []peer.AddrInfo
	faults   []error
}

type setup struct {
	want   int
	change func(*Config)
	idle   bool // does not start the exchange
	dials  bool
}

// newNet makes a network whose records are dated, whatever tests ran before.
func newNet(opts ...testnet.Option) *testnet.Net {
	testkit.PastRecords()
	return testnet.New(1, opts...)
}

func newNode(t *testing.T, h host.Host, s setup) *node {
	t.Helper()
	n := &node{Host: h, sessions: map[peer.ID]bool{}}
	n.want.Store(int64(s.want))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	cfg := Config{
		Host: h, Network: testNetwork, Obs: obs.Discard(),
		Member:   n.member,
		Sessions: n.list,
		Want:     func() int { return int(n.want.Load()) - len(n.list()) },
		Found: func(from peer.ID, ai peer.AddrInfo, _ uint64) {
			n.mu.Lock()
			n.found = append(n.found, ai)
			n.mu.Unlock()
			if s.dials {
				wg.Go(func() { h.Connect(ctx, ai) })
			}
		},
		Penalise: func(_ peer.ID, err error) {
			n.mu.Lock()
			n.faults = append(n.faults, err)
			n.mu.Unlock()
		},
	}
	if s.change != nil {
		s.change(&cfg)
	}
	var err error
	if n.x, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	sub, err := h.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		for ev := range sub.Out() {
			n.follow(ev.(event.EvtPeerConnectednessChanged))
		}
	})
	if !s.idle {
		if err := n.x.Start(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := n.x.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		cancel()
		sub.Close()
		wg.Wait()
	})
	return n
}

func (n *node) follow(ev event.EvtPeerConnectednessChanged) {
	up := ev.Connectedness == network.Connected
	n.mu.Lock()
	if up {
		n.sessions[ev.Peer] = true
	} else {
		delete(n.sessions, ev.Peer)
	}
	n.mu.Unlock()
	if up {
		n.x.Met(ev.Peer)
	}
}

func (n *node) member(p peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions[p]
}

func (n *node) list() []peer.ID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.sessions))
}

// told returns the candidates handed on and the faults noted so far.
func (n *node) told() ([]peer.AddrInfo, []error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.found), slices.Clone(n.faults)
}

func (n *node) count(name string) int64 { return n.x.obs.Counter(name).Count() }

func connect(t *testing.T, a, b host.Host) {
	t.Helper()
	if err := a.Connect(t.Context(), testnet.Info(b)); err != nil {
		t.Fatalf("connect: %v", err)
	}
}

// answering makes h answer every request with these bytes.
func answering(h host.Host, reply []byte) {
	h.SetStreamHandler(Protocol(testNetwork), func(s network.Stream) {
		io.ReadAll(s)
		s.Write(reply)
		s.Close()
	})
}

// request sends raw bytes as a request and returns all of the answer.
func request(ctx context.Context, from, to host.Host, raw []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := from.NewStream(network.WithNoDial(ctx, "test"), to.ID(), Protocol(testNetwork))
	if err != nil {
		return nil, err
	}
	defer s.Reset()
	s.SetDeadline(time.Now().Add(time.Minute))
	if _, err := s.Write(raw); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(s)
}
