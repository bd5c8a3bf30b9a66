//go:build unix

package p2p

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// acceptLog tells which connections a listener accepts.
type acceptLog struct {
	net.Listener
	conns chan net.Conn
}

func (l acceptLog) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.conns <- c
	}
	return c, err
}

// Small writes leave at once, and a far end that vanished is found out: on the
// connection that a client made as on the one to the service.
func TestNoDelayAndKeepAlive(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		accepted, dialled := make(chan net.Conn, 1), make(chan net.Conn, 1)
		dial.bindTo = func(ctx context.Context, s socketAddr) (net.Listener, error) {
			ln, err := bindSocket(ctx, s)
			return acceptLog{ln, accepted}, err
		}
		serve.dialTo = func(ctx context.Context, s socketAddr, set settings) (net.Conn, error) {
			c, err := serve.dialTarget(ctx, s, set)
			if err == nil {
				dialled <- c
			}
			return c, err
		}
		c := connect(t, tunnel(t, dial, serve, echoService(t)))
		mustEcho(t, c, "x")
		for who, conn := range map[string]net.Conn{
			"accepted": testkit.Receive(t, accepted, "a connection"), "dialled": testkit.Receive(t, dialled, "a connection"),
		} {
			if sockopt(t, conn, syscall.IPPROTO_TCP, syscall.TCP_NODELAY) == 0 {
				t.Errorf("%s: TCP_NODELAY is off", who)
			}
			if sockopt(t, conn, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) == 0 {
				t.Errorf("%s: SO_KEEPALIVE is off", who)
			}
		}
	})
}

func sockopt(t *testing.T, c net.Conn, level, opt int) (value int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var oerr error
	if err := raw.Control(func(fd uintptr) { value, oerr = syscall.GetsockoptInt(int(fd), level, opt) }); err != nil || oerr != nil {
		t.Fatal(err, oerr)
	}
	return value
}
