package swarm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is an engine on a host of a network in memory.
type node struct {
	t testing.TB
	h host.Host
	e *Engine

	mu      sync.Mutex // guards the fields below
	members map[peer.ID]bool
	got     []Whole
	at      []time.Time
	faults  map[peer.ID][]string
	verdict sched.Verdict // on whole messages
	checks  int           // of headers
}

// header vouches for a digest, as a signature would.
func header(h Header) []byte {
	sum := sha256.Sum256(append([]byte("good"), h.Digest[:]...))
	return sum[:]
}

func blockHeaders() Headers {
	return Headers{
		Make: func(h Header, _ []byte) ([]byte, error) { return header(h), nil },
		Check: func(_ context.Context, h Header) (sched.Verdict, string) {
			if bytes.Equal(h.Header, header(h)) {
				return sched.Accept, ""
			}
			return sched.Reject, ""
		},
	}
}

// newNode makes a node that takes blocks.
func newNode(t testing.TB, n *testnet.Net, i int, change func(*Config, *Headers)) *node {
	nd := &node{t: t, h: n.Host(t, n.Node(i)), members: map[peer.ID]bool{}, faults: map[peer.ID][]string{}, verdict: sched.Accept}
	budgets := pacing.New(nd.h)
	cfg := Config{
		Host: nd.h, Network: "net", Budgets: budgets,
		Takes: func(p peer.ID) (map[string]int, bool) {
			nd.mu.Lock()
			defer nd.mu.Unlock()
			return map[string]int{"block": 8 << 20}, nd.members[p]
		},
		Deliver: nd.deliver,
		Report: func(p peer.ID, _, fault string, _ bool) {
			nd.mu.Lock()
			defer nd.mu.Unlock()
			nd.faults[p] = append(nd.faults[p], fault)
		},
	}
	headers := blockHeaders()
	check := headers.Check
	headers.Check = func(ctx context.Context, h Header) (sched.Verdict, string) {
		nd.mu.Lock()
		nd.checks++
		nd.mu.Unlock()
		return check(ctx, h)
	}
	if change != nil {
		change(&cfg, &headers)
	}
	var err error
	if nd.e, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := nd.e.Start(); err != nil {
		t.Fatal(err)
	}
	if err := nd.e.Set(msgtype.Spec{Name: "block", MaxSize: 8 << 20, Broadcast: msgtype.Broadcast{MaxSize: 8<<20 - msgtype.BroadcastOverhead}}, true, headers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nd.e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		budgets.Close()
	})
	return nd
}

func (nd *node) deliver(w Whole) {
	nd.mu.Lock()
	nd.got = append(nd.got, w)
	nd.at = append(nd.at, time.Now())
	v := nd.verdict
	nd.mu.Unlock()
	nd.e.Validated(w.Ref, v)
}

// setVerdict is what the node thinks of messages from now on.
func (nd *node) setVerdict(v sched.Verdict) {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	nd.verdict = v
}

// first is the first message that was whole.
func (nd *node) first() Whole {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return nd.got[0]
}

// member makes a peer one to speak with.
func (nd *node) member(p peer.ID, is bool) {
	nd.mu.Lock()
	nd.members[p] = is
	nd.mu.Unlock()
	nd.e.PeerChanged(p)
}

// join connects two nodes.
func join(t testing.TB, a, b *node) {
	if err := a.h.Connect(t.Context(), testnet.Info(b.h)); err != nil {
		t.Fatal(err)
	}
	a.member(b.h.ID(), true)
	b.member(a.h.ID(), true)
}

// publish spreads a message.
func (nd *node) publish(data []byte) {
	nd.t.Helper()
	r, err := nd.e.Prepare("block", data, data)
	if err == nil {
		err = nd.e.Spread(r)
	}
	if err != nil {
		nd.t.Fatal(err)
	}
}

func (nd *node) has(data []byte) bool {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	for _, w := range nd.got {
		if bytes.Equal(w.Data, data) {
			return true
		}
	}
	return false
}

// message is size bytes that are all different from another seed's.
func message(seed byte, size int) []byte {
	b := make([]byte, size)
	for i := 0; i < size; i += 1 << 10 {
		b[i], b[min(i+1, size-1)] = seed, byte(i>>10)
	}
	return b
}

// eventually waits in virtual time.
func eventually(t testing.TB, what string, d time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %s: %s", d, what)
		}
	}
}
