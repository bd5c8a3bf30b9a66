package p2p

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// newLimitedHost is a host as the library makes it, with its default limits.
func newLimitedHost(t testing.TB, listen string) host.Host {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p2phost.New(p2phost.Config{Key: key, Listen: []ma.Multiaddr{testkit.Addr(t, listen)}, Obs: obs.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// keepingService accepts connections, keeps them, and says when n have come.
// It runs one goroutine in all.
func keepingService(t testing.TB, n int) (ma.Multiaddr, <-chan []net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan []net.Conn, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		var conns []net.Conn
		for len(conns) < n {
			c, err := ln.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		all <- conns
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return multiaddr(t, ln.Addr()), all
}

func heapAndGoroutines() (uint64, int) {
	var m runtime.MemStats
	for range 3 { // a pool gives up its buffers in two collections
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

// 1,000 tunnelled connections to one peer, under the library's default limits:
// all work, and while idle each costs no more than 8 KiB of heap and two
// goroutines at either end.
func TestThousandIdleConnections(t *testing.T) {
	const conns = 1000
	a, b := newLimitedHost(t, loopback), newLimitedHost(t, loopback)
	a.Peerstore().AddAddrs(b.ID(), b.Addrs(), peerstore.PermanentAddrTTL)
	dial, serve := newTunnels(t, a), newTunnels(t, b)
	target, kept := keepingService(t, conns)
	at := tunnel(t, dial, serve, target)

	// The first connection brings the peers together and fills the pools.
	first := connect(t, at)
	heap, goroutines := heapAndGoroutines()
	clients := make([]net.Conn, conns)
	clients[0] = first
	var wg sync.WaitGroup
	for i := 1; i < conns; i++ {
		wg.Go(func() {
			c, err := net.Dial("tcp", at)
			if err != nil {
				t.Error(err)
				return
			}
			clients[i] = c
		})
	}
	wg.Wait()
	defer func() {
		for _, c := range clients {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	services := testkit.Receive(t, kept, "all connections at the service")
	defer func() {
		for _, c := range services {
			_ = c.Close()
		}
	}()
	if len(services) != conns {
		t.Fatalf("%d connections work", len(services))
	}
	// Each has carried more than a small buffer, both ways.
	msg := make([]byte, 3000)
	for _, c := range append(append([]net.Conn{}, clients...), services...) {
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range append(append([]net.Conn{}, clients...), services...) {
		_ = c.SetReadDeadline(time.Now().Add(deadline))
		if _, err := io.ReadFull(c, msg); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Time{})
	}
	heapNow, goroutinesNow := heapAndGoroutines()
	perEnd := float64(int64(heapNow)-int64(heap)) / conns / 2
	gor := float64(goroutinesNow-goroutines) / conns / 2
	t.Logf("%.0f bytes of heap and %.2f goroutines per connection and end, the test's own sockets included", perEnd, gor)
	if perEnd > 8<<10 || gor > 2.01 {
		t.Errorf("more than 8 KiB or two goroutines")
	}
}

// After many connections, descriptors and goroutines are back where they were.
// TUNNEL_CONNECTIONS=10000 runs as many.
func TestNothingIsLeftBehind(t *testing.T) {
	n := envInt("TUNNEL_CONNECTIONS", 1000)
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t))
		mustEcho(t, connect(t, at), "first")
		awaitFirst := connect(t, at)
		mustEcho(t, awaitFirst, "x")
		files := testkit.OpenFiles(t)
		_, goroutines := heapAndGoroutines()
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := range n / 16 {
					c, err := net.Dial("tcp", at)
					if err != nil {
						t.Error(err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(deadline))
					if err := echoOnce(c, "ping"); err != nil {
						t.Error(err)
					}
					if i%4 == 0 {
						_ = c.(*net.TCPConn).SetLinger(0) // ends in a reset
					}
					_ = c.Close()
				}
			})
		}
		wg.Wait()
		awaitCount(t, dial, 2)
		awaitCount(t, serve, 2)
		// The service and the kernel are told of an end after the stream is.
		testkit.Goroutines(t, goroutines+8)
		most := files + 4
		testkit.Eventually(t, fmt.Sprintf("at most %d open files", most),
			func() bool { return testkit.OpenFiles(t) <= most },
			func() string { return fmt.Sprintf("there are %d", testkit.OpenFiles(t)) })
	})
}
