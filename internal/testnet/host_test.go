package testnet

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"
)

const echoProtocol = "/testnet/echo/1"

// serveEcho makes h send back what it reads.
func serveEcho(h host.Host) {
	h.SetStreamHandler(echoProtocol, func(s network.Stream) {
		if _, err := io.Copy(s, s); err != nil {
			s.Reset()
			return
		}
		s.Close()
	})
}

// echo sends size bytes from a to b and back.
func echo(ctx context.Context, a, b host.Host, size int) error {
	s, err := a.NewStream(ctx, b.ID(), echoProtocol)
	if err != nil {
		return err
	}
	defer s.Reset()
	sent := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, size))
		sent <- errors.Join(err, s.CloseWrite())
	}()
	n, err := io.Copy(io.Discard, s)
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	if n != int64(size) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func connect(t *testing.T, a, b host.Host) {
	t.Helper()
	if err := a.Connect(t.Context(), Info(b)); err != nil {
		t.Fatalf("connect: %v", err)
	}
}

var hostKinds = []struct {
	name string
	opts []libp2p.Option
}{
	{"default", nil},
	{"tls", []libp2p.Option{libp2p.Security(libp2ptls.ID, libp2ptls.New)}},
	{"noise", []libp2p.Option{libp2p.Security(noise.ID, noise.New)}},
	{"psk", []libp2p.Option{libp2p.PrivateNetwork(make([]byte, 32))}},
}

func TestHosts(t *testing.T) {
	for _, kind := range hostKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1, WithLink(Link{Latency: 10 * time.Millisecond}))
				a := n.Host(t, n.Node(1), kind.opts...)
				b := n.Host(t, n.Node(2), kind.opts...)
				serveEcho(b)
				connect(t, a, b)
				if err := echo(t.Context(), a, b, 1<<20); err != nil {
					t.Fatal(err)
				}
				if got := n.Stats(n.Node(1)).Sent; got < 1<<20 {
					t.Errorf("node 1 sent %d bytes", got)
				}
			})
		})
	}
}

func TestHostsOverIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a := n.Host(t, netip.MustParseAddr("2a00:1::1"))
		b := n.Host(t, netip.MustParseAddr("2a00:2::1"))
		serveEcho(b)
		connect(t, a, b)
		if err := echo(t.Context(), a, b, 1000); err != nil {
			t.Error(err)
		}
	})
}

func TestCanDial(t *testing.T) {
	tr, err := New(1).Transport(netip.MustParseAddr("5.0.1.1"))(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"/ip4/5.0.2.1/tcp/4001": true, "/ip6/2a00::1/tcp/1": true, "/ip4/5.0.2.1/tcp/4001/ws": false,
		"/ip4/5.0.2.1/udp/4001/quic-v1": false, "/dns4/example.org/tcp/1": false, "/ip4/5.0.2.1": false,
	} {
		if got := tr.CanDial(ma.StringCast(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestTransportDoesNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := n.Host(t, n.Node(1)), n.Host(t, n.Node(2))
		connect(t, a, b)
		for _, f := range n.flowsLocked() {
			if f.ends[0].linger || f.ends[1].linger {
				t.Errorf("linger: dialler %v, acceptor %v", f.ends[0].linger, f.ends[1].linger)
			}
		}
	})
}

func TestPSKMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		other := make([]byte, 32)
		other[0] = 1
		a := n.Host(t, n.Node(1), libp2p.PrivateNetwork(make([]byte, 32)))
		b := n.Host(t, n.Node(2), libp2p.PrivateNetwork(other))
		if err := a.Connect(t.Context(), Info(b)); err == nil {
			t.Fatal("hosts with different keys connected")
		}
	})
}

func TestHostIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a := n.Host(t, n.Node(1))
		key, err := n.Key(n.Node(2))
		if err != nil {
			t.Fatal(err)
		}
		b := n.Host(t, n.Node(3), libp2p.Identity(key))
		if !b.ID().MatchesPrivateKey(key) || a.ID() == b.ID() {
			t.Error("wrong identities")
		}
	})
}

func TestTransportListensOnOwnAddressOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		tr, err := n.Transport(n.Node(1))(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Listen(Multiaddr(n.Node(2))); !errors.Is(err, ErrForeignAddress) {
			t.Errorf("listen on another node's address: %v", err)
		}
	})
}
