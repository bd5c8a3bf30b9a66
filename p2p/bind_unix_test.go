//go:build unix

package p2p

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

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
