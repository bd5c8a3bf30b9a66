package p2p

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/neterr"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

// A service that kubo serves with "ipfs p2p listen". A tunnel to it starts whether the
// service runs or not, time after time: kubo agrees on the protocol before it dials the
// service. Connections through it end while it is down. A protocol that kubo does not
// serve starts no tunnel.
func TestKuboServes(t *testing.T) {
	kubo := testkit.StartKubo(t)
	down := freePort(t)
	kubo.Run("p2p", "listen", "/x/down", down.String())
	kubo.Run("p2p", "listen", "/x/up", echoService(t).String())
	for range 20 {
		for _, proto := range []string{"/x/down", "/x/up"} {
			p := newTunnels(t, testkit.Host(t)) // another peer each time, as a program that is started again
			info := kubo.Info()
			l, err := p.Dial(t.Context(), info.Addrs[0], info.ID, proto, testkit.Addr(t, "/ip4/127.0.0.1/tcp/0"), WithCheck())
			if err != nil {
				t.Fatalf("%s: %v", proto, err)
			}
			if proto == "/x/up" {
				mustEcho(t, connectInfo(t, l), "through kubo")
			} else if err := firstRead(hostPort(t, l.Listen)); err == nil || neterr.IsTimeout(err) {
				t.Fatalf("a connection to a service that is down: %v", err)
			}
			if err := p.CheckRemote(t.Context(), info.ID, "/x/other"); !errors.Is(err, ErrNotServed) {
				t.Fatalf("a protocol that is not served: %v", err)
			}
			_ = p.Close()
		}
	}
}

// firstRead connects and reads. The connection may be reset before it is seen to stand.
func firstRead(hostport string) error {
	c, err := net.DialTimeout("tcp", hostport, testkit.Deadline)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(testkit.Deadline))
	_, err = c.Read(make([]byte, 1))
	return err
}

// A service of ours, reached by "ipfs p2p forward".
func TestKuboForwards(t *testing.T) {
	kubo := testkit.StartKubo(t)
	h := testkit.Host(t)
	serve := newTunnels(t, h)
	if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
		t.Fatal(err)
	}
	at := freePort(t)
	kubo.Run("swarm", "connect", testkit.FullAddr(t, h))
	kubo.Run("p2p", "forward", web, at.String(), "/p2p/"+h.ID().String())
	for range 20 {
		c := connect(t, hostPort(t, at))
		mustEcho(t, c, "through kubo")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatal(err)
		}
	}
}
