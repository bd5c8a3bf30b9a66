package p2p

import (
	"fmt"
	"net"
	"reflect"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/listener"
)

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
	return addr(t, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", testkit.FreePort(t)))
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
