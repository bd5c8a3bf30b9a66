package testnet

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
)

// TestDeterminism floods a message through a net of hosts and compares when it
// reached each, run against run.
func TestDeterminism(t *testing.T) {
	first := floodTrace(t, 1, 30)
	if len(first) != 30 {
		t.Fatalf("reached %d hosts", len(first))
	}
	if again := floodTrace(t, 1, 30); !slices.Equal(first, again) {
		t.Errorf("equal seeds, different traces:\n%v\n%v", first, again)
	}
	if other := floodTrace(t, 2, 30); slices.Equal(first, other) {
		t.Error("another seed, the same trace")
	}
}

func floodTrace(t *testing.T, seed uint64, size int) (trace []string) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, 42)
		n := New(seed, WithLinks(func(from, to netip.Addr) Link {
			apart := time.Duration(from.As4()[2]*7+to.As4()[2]*13) % 40
			return Link{Latency: (5 + apart) * time.Millisecond, Jitter: 5 * time.Millisecond}
		}))
		var hosts []host.Host
		for i := range size {
			hosts = append(hosts, n.Host(t, n.Node(i)))
		}
		f := newFlood(hosts)
		r := rand.New(rand.NewPCG(3, 3))
		for i, h := range hosts {
			connect(t, h, hosts[(i+1)%size])
			if j := r.IntN(size); j != i {
				connect(t, h, hosts[j])
			}
		}
		time.Sleep(5 * time.Second)
		f.start(0)
		time.Sleep(5 * time.Second)
		for i, at := range f.times() {
			trace = append(trace, fmt.Sprintf("%d at %v", i, at))
		}
		slices.Sort(trace)
	})
	return trace
}

// flood is the plainest gossip: each host sends on what it sees first.
type flood struct {
	hosts []host.Host
	size  int

	mu    sync.Mutex
	begin time.Time
	seen  map[int]time.Duration
}

const floodProtocol = "/testnet/flood/1"

func newFlood(hosts []host.Host) *flood {
	f := &flood{hosts: hosts, size: 1024, seen: make(map[int]time.Duration)}
	for i, h := range hosts {
		h.SetStreamHandler(floodProtocol, func(s network.Stream) {
			defer s.Close()
			if b, err := io.ReadAll(s); err == nil && len(b) == f.size {
				f.arrived(i, s.Conn())
			}
		})
	}
	return f
}

func (f *flood) start(i int) {
	f.mu.Lock()
	f.begin = time.Now()
	f.mu.Unlock()
	f.arrived(i, nil)
}

func (f *flood) arrived(i int, from network.Conn) {
	f.mu.Lock()
	_, again := f.seen[i]
	if !again {
		f.seen[i] = time.Since(f.begin)
	}
	f.mu.Unlock()
	if again {
		return
	}
	for _, p := range f.hosts[i].Network().Peers() {
		if from != nil && p == from.RemotePeer() {
			continue
		}
		go func() {
			s, err := f.hosts[i].NewStream(context.Background(), p, floodProtocol)
			if err != nil {
				return
			}
			s.Write(make([]byte, f.size))
			s.Close()
		}()
	}
}

func (f *flood) times() map[int]time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}
