package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
	"github.com/go-nebnet/nebnet/p2p"
)

// echo serves one word over whatever listens, until it is closed.
func echo(t *testing.T, l net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

func say(c net.Conn, word string) (string, error) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	return string(got), err
}

// Tunnels of the configuration run from Start, and reach a peer that is not
// connected yet.
func TestConfiguredTunnels(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echo(t, target)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bind := free.Addr().(*net.TCPAddr).Port
	free.Close()

	cfg := netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}}
	cfg.Tunnels = []p2p.Tunnel{{Protocol: "/x/echo", Target: fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", target.Addr().(*net.TCPAddr).Port)}}
	server := start(t, cfg)
	cfg.Tunnels = []p2p.Tunnel{{Protocol: "/x/echo", Bind: fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", bind), Peer: server.Node().Addrs()[0].String()}}
	client := start(t, cfg)
	for range 2 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", bind))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := say(c, "hello"); got != "hello" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	// The server has the session before the client does, and may be faster.
	testkit.Eventually(t, "the client's session with the server", func() bool {
		p := client.Peers()
		return len(p) == 1 && p[0].ID == server.Node().ID()
	})
}

// A configured tunnel works again by itself when its peer is back.
func TestConfiguredTunnelAfterAnOutage(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echo(t, target)
	cfg := netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DataDir: t.TempDir()}
	cfg.Tunnels = []p2p.Tunnel{{Protocol: "/x/echo", Target: fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", target.Addr().(*net.TCPAddr).Port)}}
	server := start(t, cfg)
	at, id := server.Node().Addrs()[0], server.Node().ID()
	client := start(t, netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Tunnels: []p2p.Tunnel{
		{Protocol: "/x/echo", Bind: "/ip4/127.0.0.1/tcp/0", Peer: at.String()},
	}})
	bound, err := manet.ToNetAddr(client.P2P().Listeners.List()[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	word := func() (string, error) {
		c, err := net.Dial("tcp", bound.String())
		if err != nil {
			return "", err
		}
		return say(c, "hello")
	}
	if got, err := word(); got != "hello" || err != nil {
		t.Fatalf("at first: %q, %v", got, err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if got, err := word(); err == nil {
		t.Errorf("while the peer is away: %q", got)
	}
	transport, _ := peer.SplitAddr(at)
	cfg.Listen = []string{transport.String()}
	if back := start(t, cfg); back.Node().ID() != id {
		t.Fatalf("came back as %s", back.Node().ID())
	}
	// Both dial now, and of two connections one is closed again, with what it
	// carries.
	testkit.Eventually(t, "the tunnel works again", func() bool {
		got, err := word()
		return got == "hello" && err == nil
	})
}

// A node of another chain cannot use a service's tunnels; a peer can, and
// again after an outage.
func TestTunnelsAreForPeers(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(chain(), quiet())
		other := chain()
		other.ChainID = "other"
		c := nw.Add(other, quiet())
		if a.Service().P2P() != nil {
			t.Error("there are tunnels before Start")
		}
		nw.Start()
		l, err := a.Service().P2P().Listen(t.Context(), "/x/echo")
		if err != nil {
			t.Fatal(err)
		}
		echo(t, l)
		dial := func(n *nettest.Node) (string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			n.Service().ConnectPeer(ctx, a.Addr())
			conn, err := n.Service().P2P().DialConn(ctx, a.ID(), "/x/echo")
			if err != nil {
				return "", err
			}
			return say(conn, "hello")
		}
		if got, err := dial(b); got != "hello" || err != nil {
			t.Errorf("a peer: %q, %v", got, err)
		}
		if got, err := dial(c); err == nil {
			t.Errorf("a stranger got %q", got)
		}
		nw.Isolate(b)
		time.Sleep(time.Minute)
		nw.Heal()
		b.WaitForPeers(1) // a dial that began in the outage may still have to fail
		if got, err := dial(b); got != "hello" || err != nil {
			t.Errorf("after an outage: %q, %v", got, err)
		}
	})
}

// The connections of a tunnel end with the session of their peer, also where the
// hosts are the programs' own and stay connected.
func TestTunnelsEndWithTheSession(t *testing.T) {
	for name, own := range map[string]bool{"own hosts": true, "hosts of the nodes": false} {
		t.Run(name, func(t *testing.T) {
			var nodes [2]*netservice.NebService
			for i := range nodes {
				cfg := netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}}
				var opts []netservice.Option
				if own {
					opts = append(opts, netservice.WithHost(testkit.Host(t)))
				}
				nodes[i] = start(t, cfg, opts...)
			}
			a, b := nodes[0], nodes[1]
			ctx := deadline(t)
			if err := a.ConnectPeer(ctx, testkit.FullAddr(t, b.Node().Host())); err != nil {
				t.Fatal(err)
			}
			if err := b.WaitForPeers(ctx, 1); err != nil {
				t.Fatal(err)
			}
			var conns []net.Conn
			for i, n := range nodes {
				l, err := n.P2P().Listen(t.Context(), "/x/echo")
				if err != nil {
					t.Fatal(err)
				}
				echo(t, l)
				c, err := nodes[1-i].P2P().DialConn(ctx, n.Node().ID(), "/x/echo")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.WriteString(c, "x"); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
			}
			if err := b.BanPeer(a.Node().ID().String(), 0); err != nil {
				t.Fatal(err)
			}
			for _, c := range conns {
				if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a connection to %s goes on: %v", c.RemoteAddr(), err)
				}
			}
		})
	}
}
