package testnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/neterr"
)

const testLatency = 20 * time.Millisecond

// pair returns a net with two nodes and a raw connection from 1 to 2.
func pair(t *testing.T, opts ...Option) (n *Net, a, b *Conn) {
	t.Helper()
	n = New(1, append([]Option{WithLink(Link{Latency: testLatency})}, opts...)...)
	l, err := n.Listen(Addr(n.Node(2)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	a, err = n.Dial(t.Context(), n.Node(1), Addr(n.Node(2)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b = c.(*Conn)
	t.Cleanup(func() { a.Close(); b.Close() })
	return n, a, b
}

func mustWrite(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// readWithin reads once, and returns how long it took.
func readWithin(c net.Conn, d time.Duration) (string, time.Duration, error) {
	start := time.Now()
	c.SetReadDeadline(start.Add(d))
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	return string(b[:n]), time.Since(start), err
}

func wantRead(t *testing.T, c net.Conn, want string, after time.Duration) {
	t.Helper()
	got, took, err := readWithin(c, time.Hour)
	if err != nil || got != want || took != after {
		t.Errorf("read %q after %v (%v), want %q after %v", got, took, err, want, after)
	}
}

func wantReadError(t *testing.T, c net.Conn, want error, after time.Duration) {
	t.Helper()
	got, took, err := readWithin(c, time.Hour)
	if !errors.Is(err, want) || got != "" || took != after {
		t.Errorf("read %q after %v (%v), want %v after %v", got, took, err, want, after)
	}
}

func TestCrashIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		mustWrite(t, b, "lost with the power")
		time.Sleep(testLatency / 2)
		n.Crash(n.Node(2))
		if _, err := b.Write([]byte("x")); !errors.Is(err, ErrNodeDown) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("write on the crashed node: %v", err)
		}
		mustWrite(t, a, "into the dark")
		if _, _, err := readWithin(a, time.Hour); !neterr.IsTimeout(err) {
			t.Errorf("read from the crashed node: %v", err)
		}
		start := time.Now()
		_, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2)))
		if !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != DefaultDialTimeout {
			t.Errorf("dial of the crashed node: %v after %v", err, time.Since(start))
		}
		if _, err := n.Dial(t.Context(), n.Node(2), Addr(n.Node(1))); !errors.Is(err, ErrNodeDown) {
			t.Errorf("dial by the crashed node: %v", err)
		}
		// The machine is back, and answers the retransmission with a reset.
		n.Restart(n.Node(2))
		start = time.Now()
		_, _, err = readWithin(a, time.Hour)
		if !errors.Is(err, syscall.ECONNRESET) || time.Since(start) > DefaultMaxRTO+2*testLatency {
			t.Errorf("read after the restart: %v after %v", err, time.Since(start))
		}
		if _, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2))); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial of the empty machine: %v", err)
		}
	})
}

func TestLostWithThePower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		mustWrite(t, b, "in the air")
		n.Crash(n.Node(2))
		n.Restart(n.Node(2))
		if got, _, err := readWithin(a, time.Hour); !neterr.IsTimeout(err) {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestDeathWhileDialling(t *testing.T) {
	for name, die := range map[string]func(*Net, netip.Addr){"kill": (*Net).Kill, "crash": (*Net).Crash} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _, _ := pair(t)
				time.AfterFunc(testLatency/2, func() { die(n, n.Node(1)) })
				if _, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2))); !errors.Is(err, ErrNodeDown) {
					t.Errorf("dial by a dying node: %v", err)
				}
				time.AfterFunc(testLatency/2, func() { die(n, n.Node(2)) })
				start := time.Now()
				_, err := n.Dial(t.Context(), n.Node(3), Addr(n.Node(2)))
				want, after := syscall.ECONNREFUSED, 2*testLatency
				if name == "crash" {
					want, after = syscall.ETIMEDOUT, DefaultDialTimeout
				}
				if took := time.Since(start); !errors.Is(err, want) || took != after {
					t.Errorf("dial of a dying node: %v after %v", err, took)
				}
			})
		})
	}
}

func TestRestartAnswersTheNextWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, _ := pair(t)
		n.Crash(n.Node(2))
		n.Restart(n.Node(2))
		if _, _, err := readWithin(a, time.Hour); !neterr.IsTimeout(err) {
			t.Errorf("nothing was sent, but read: %v", err)
		}
		mustWrite(t, a, "hello?")
		wantReadError(t, a, syscall.ECONNRESET, 2*testLatency)
	})
}

func TestKillResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		mustWrite(t, b, "last words")
		n.Kill(n.Node(2))
		wantRead(t, a, "last words", testLatency)
		wantReadError(t, a, syscall.ECONNRESET, 0)
		if _, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2))); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v", err)
		}
	})
}

func TestHostCrashAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, WithLink(Link{Latency: testLatency}))
		a := n.Host(t, n.Node(1))
		b := n.Host(t, n.Node(2))
		serveEcho(b)
		connect(t, a, b)

		n.Crash(n.Node(2))
		time.Sleep(5 * time.Second)
		if a.Network().Connectedness(b.ID()) != network.Connected {
			t.Error("the crash was noticed at once")
		}
		b.Close()
		time.Sleep(2 * time.Minute)
		if a.Network().Connectedness(b.ID()) == network.Connected {
			t.Error("the crash was never noticed")
		}

		n.Restart(n.Node(2))
		again := n.Host(t, n.Node(2))
		if again.ID() != b.ID() {
			t.Error("another identity")
		}
		serveEcho(again)
		if err := echo(network.WithForceDirectDial(t.Context(), "test"), a, again, 10); err != nil {
			t.Errorf("echo after the restart: %v", err)
		}
	})
}

func TestHostKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, WithLink(Link{Latency: testLatency}))
		a := n.Host(t, n.Node(1))
		b := n.Host(t, n.Node(2))
		connect(t, a, b)
		n.Kill(n.Node(2))
		time.Sleep(2 * testLatency)
		if a.Network().Connectedness(b.ID()) == network.Connected {
			t.Error("the death was not noticed")
		}
		// The zombie reaches nobody, and its address is free.
		if err := b.Connect(context.Background(), Info(a)); err == nil {
			t.Error("a dead host connected")
		}
		n.Host(t, n.Node(2))
	})
}
