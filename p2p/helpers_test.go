package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/listener"
)

const (
	web      = "/x/web"
	loopback = "/ip4/127.0.0.1/tcp/0"
	deadline = testkit.Deadline
)

func newTunnels(t testing.TB, h host.Host, opts ...Option) *P2P {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	p := NewP2P(h.ID(), h, h.Peerstore(), append([]Option{WithLogger(log)}, opts...)...)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// service is a TCP service on loopback that calls handle for each connection.
// Connections that the tunnels under test have left open fail the test.
func service(t testing.TB, handle func(*net.TCPConn)) ma.Multiaddr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards open
		open = make(map[net.Conn]bool)
	)
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				handle(c.(*net.TCPConn))
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		select {
		case <-ended:
			return
		case <-time.After(deadline):
		}
		mu.Lock()
		t.Errorf("%d connections to the service are still open", len(open))
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		<-ended
	})
	return multiaddr(t, ln.Addr())
}

func echoService(t testing.TB) ma.Multiaddr {
	return service(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
}

func multiaddr(t testing.TB, a net.Addr) ma.Multiaddr {
	t.Helper()
	m, err := manet.FromNetAddr(a)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tunnel joins a local port on dial's side to target on serve's side.
func tunnel(t testing.TB, dial, serve *P2P, target ma.Multiaddr, opts ...Option) string {
	t.Helper()
	if _, err := serve.NewListener(context.Background(), web, target, opts...); err != nil {
		t.Fatal(err)
	}
	return bind(t, dial, serve.self, opts...)
}

func bind(t testing.TB, dial *P2P, to peer.ID, opts ...Option) string {
	t.Helper()
	l, err := dial.Dial(context.Background(), nil, to, web, testkit.Addr(t, loopback), opts...)
	if err != nil {
		t.Fatal(err)
	}
	_, hostport, err := manet.DialArgs(l.Listen)
	if err != nil {
		t.Fatal(err)
	}
	return hostport
}

// connect dials a local port and makes sure that nothing blocks for ever.
func connect(t testing.TB, hostport string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", hostport)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func echoOnce(c net.Conn, msg string) error {
	if _, err := io.WriteString(c, msg); err != nil {
		return err
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != msg {
		return errors.New("wrong echo: " + string(got))
	}
	return nil
}

func mustEcho(t testing.TB, c net.Conn, msg string) {
	t.Helper()
	if err := echoOnce(c, msg); err != nil {
		t.Fatalf("echo %q: %v", msg, err)
	}
}

// wantReset checks that the local connection ends with a reset, not an end of
// file.
func wantReset(t testing.TB, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
}

func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}

// awaitEmpty waits until no stream runs.
func awaitEmpty(t testing.TB, ps ...*P2P) {
	t.Helper()
	for _, p := range ps {
		for _, s := range p.Streams.List() {
			testkit.Receive(t, s.Done(), "stream to end")
		}
	}
}

// openStream opens a raw stream, as another implementation would.
func openStream(t testing.TB, h host.Host, to peer.ID) network.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	s, err := h.NewStream(ctx, to, web)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(deadline))
	return s
}

func envInt(name string, def int) int {
	n := 0
	for _, r := range os.Getenv(name) {
		if r < '0' || r > '9' {
			return def
		}
		n = n*10 + int(r-'0')
	}
	if n == 0 {
		return def
	}
	return n
}

func newRelayed(t testing.TB, opts ...libp2p.Option) host.Host {
	t.Helper()
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.DisableMetrics(), libp2p.EnableRelay(), libp2p.Transport(tcp.NewTCPTransport),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func hostPort(t testing.TB, a ma.Multiaddr) string {
	t.Helper()
	s, err := parseSocket(a)
	if err != nil {
		t.Fatal(err)
	}
	return s.address
}

func connectInfo(t testing.TB, l *listener.Info) *net.TCPConn {
	t.Helper()
	return connect(t, hostPort(t, l.Listen))
}

// freePort returns a loopback address on which nothing listens.
func freePort(t testing.TB) ma.Multiaddr {
	t.Helper()
	return testkit.Addr(t, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", testkit.FreePort(t)))
}

// fullBacklog returns the address of a listener that answers no one: its
// backlog has one place, which is taken.
func fullBacklog(t testing.TB) ma.Multiaddr {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the backlog behaves so on Linux")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*syscall.SockaddrInet4).Port}
	for { // until it stops answering
		c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if err != nil {
			return multiaddr(t, at)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}

// awaitCount waits until p runs n streams.
func awaitCount(t testing.TB, p *P2P, n int) {
	t.Helper()
	timeout := time.After(deadline)
	for {
		running := p.Streams.List()
		if len(running) <= n {
			return
		}
		cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timeout)}}
		for _, s := range running {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.Done())})
		}
		if i, _, _ := reflect.Select(cases); i == 0 {
			t.Fatalf("%d streams run, want %d", p.Streams.Len(), n)
		}
	}
}

// wantRefused checks that a connection is taken and reset.
func wantRefused(t testing.TB, hostport string) {
	t.Helper()
	c, err := net.Dial("tcp", hostport)
	if err == nil { // the reset may come as early as that
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(deadline))
		_, err = c.Read(make([]byte, 1))
	}
	wantErr(t, err, syscall.ECONNRESET)
}

func identity(key crypto.PrivKey) libp2p.Option { return libp2p.Identity(key) }
