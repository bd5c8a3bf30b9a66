//go:build unix

package p2p

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// busySocket is a unix socket with as many connections waiting as fit. accept takes
// one of them.
func busySocket(t *testing.T, path string) (accept func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", path)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			t.Skipf("a busy socket says %v here", err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	return func() {
		c, _, err := syscall.Accept(fd)
		if err != nil {
			t.Error(err)
			return
		}
		_ = syscall.Close(c)
	}
}

// A service on a unix socket that has too many connections waiting is waited for,
// as one on TCP is, for as long as a dial may take.
func TestBusySocketIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	accept := busySocket(t, path)
	p := newTunnels(t, newHost(t, transports[0]))
	set := p.defaults
	tried := 0
	set.allow = func(Target) bool { // asked about each try
		if tried++; tried == 3 {
			accept()
		}
		return true
	}
	c, err := p.dialTarget(t.Context(), socketAddr{"unix", path}, set)
	if err != nil {
		t.Fatalf("after %d tries: %v", tried, err)
	}
	defer c.Close()
	if tried != 3 {
		t.Errorf("%d tries", tried)
	}
	set.allow, set.dialTimeout = nil, 20*time.Millisecond
	_, err = p.dialTarget(t.Context(), socketAddr{"unix", path}, set)
	wantErr(t, err, ErrTargetRefused)
	wantErr(t, err, context.DeadlineExceeded)
}

// abandonedSocket is what a killed process leaves behind.
func abandonedSocket(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
}

// A socket file that a killed process left behind does not keep its successor
// from starting.
func TestAbandonedSocketIsReplaced(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "web.sock")
		abandonedSocket(t, path)
		list := []Tunnel{{Protocol: web, Bind: "/unix" + path, Peer: serve.self.String()}}
		if err := dial.Apply(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		mustEcho(t, c, "after a restart")
	})
}

// What is not an abandoned socket stays as it is.
func TestBindRemovesNothingElse(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, path string){
		"a file": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a directory": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"a link to an abandoned socket": func(t *testing.T, path string) {
			abandonedSocket(t, path+"2")
			if err := os.Symlink(path+"2", path); err != nil {
				t.Fatal(err)
			}
		},
		"a socket in use": func(t *testing.T, path string) {
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
		},
		"a datagram socket": func(t *testing.T, path string) {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			put(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := bindSocket(t.Context(), socketAddr{"unix", path})
			wantErr(t, err, syscall.EADDRINUSE)
			if err == nil {
				_ = ln.Close()
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
				t.Errorf("%s was replaced: %v", name, err)
			}
		})
	}
}
