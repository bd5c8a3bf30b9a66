package p2p

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

// loopbackService listens on a loopback address, or returns nil where the machine
// has none of that kind.
func loopbackService(t *testing.T, host string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil && host == "::1" {
		t.Logf("no IPv6 here: %v", err)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestConnectNow(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		ln := loopbackService(t, host)
		if ln == nil {
			continue
		}
		connected := false
		d := net.Dialer{Control: func(_, address string, socket syscall.RawConn) error {
			connectNow(socket, netip.MustParseAddrPort(address))
			return socket.Control(func(fd uintptr) {
				_, err := syscall.Getpeername(int(fd))
				connected = err == nil
			})
		}}
		c, err := d.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if !connected {
			t.Errorf("%s: not yet connected when package net was about to do it", host)
		}
		_ = c.Close()
	}
}

// A service that does not listen is found out all the same, and the rule comes
// before the connection.
func TestConnectNowRefused(t *testing.T) {
	ln := loopbackService(t, "127.0.0.1")
	at := ln.Addr().String()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := ln.Accept(); err == nil {
			accepted <- c
		}
	}()
	p := newTunnels(t, newHost(t, transports[0]))
	set := p.defaults
	set.allow = func(Target) bool { return false }
	if _, err := p.dialTarget(context.Background(), socketAddr{"tcp", at}, set); !errors.Is(err, ErrTargetDenied) {
		t.Errorf("denied target: %v", err)
	}
	set.allow = LoopbackOnly
	c, err := p.dialTarget(context.Background(), socketAddr{"tcp", at}, set)
	if err != nil {
		t.Fatal(err)
	}
	first := <-accepted
	if got, want := first.RemoteAddr().String(), c.LocalAddr().String(); got != want {
		t.Errorf("the first connection came from %s, not from the allowed %s", got, want)
	}
	_, _, _ = c.Close(), first.Close(), ln.Close()
	_, err = p.dialTarget(context.Background(), socketAddr{"tcp", at}, set)
	if !errors.Is(err, ErrTargetRefused) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}
