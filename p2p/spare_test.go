package p2p

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/listener"
)

// spareWorld is a tunnel with spare streams to a service that numbers its
// connections, and says the number at once.
type spareWorld struct {
	*world
	tunnel *listener.Info
	came   atomic.Int64
}

func inSpareWorld(t *testing.T, n int, handle func(c *testnet.Conn, number int64), test func(t *testing.T, w *spareWorld)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		s := &spareWorld{world: w}
		target := w.service(func(c *testnet.Conn) {
			number := s.came.Add(1)
			_, _ = fmt.Fprintln(c, number)
			handle(c, number)
		})
		if _, err := w.serve.NewListener(context.Background(), web, target); err != nil {
			t.Fatal(err)
		}
		var err error
		s.tunnel, err = w.dial.Dial(context.Background(), nil, w.serve.self, web, addr(t, loopback), WithSpares(n))
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
}

// numbered connects, and returns which of the service's connections it got.
func (w *spareWorld) numbered() (c *testnet.Conn, number int64) {
	w.t.Helper()
	c = w.connect(w.tunnel.Listen)
	if _, err := fmt.Fscanln(c, &number); err != nil {
		w.t.Fatal(err)
	}
	return c, number
}

func echoNumbered(c *testnet.Conn, _ int64) { echoConn(c) }

func TestSpareIsTaken(t *testing.T) {
	inSpareWorld(t, 1, echoNumbered, func(t *testing.T, w *spareWorld) {
		first, number := w.numbered()
		if number != 1 {
			t.Fatalf("the first is number %d", number)
		}
		time.Sleep(time.Second)
		if n := w.came.Load(); n != 2 {
			t.Fatalf("the service has seen %d connections, want one and a spare one", n)
		}
		began := time.Now()
		second, number := w.numbered()
		if d := time.Since(began); number != 2 || d >= 10*time.Millisecond {
			t.Errorf("got number %d after %v, want the spare one sooner than anything can come from the peer", number, d)
		}
		mustEcho(t, first, "first")
		mustEcho(t, second, "second")
		time.Sleep(time.Second)
		if n := w.came.Load(); n != 3 {
			t.Errorf("the service has seen %d connections: the spare one was not replaced", n)
		}
		if n := w.dial.Streams.Len(); n != 2 {
			t.Errorf("%d streams run", n)
		}
	})
}

func TestSparesExpire(t *testing.T) {
	ended := make(map[int64]time.Duration)
	var mu sync.Mutex
	var began time.Time
	inSpareWorld(t, 3, func(c *testnet.Conn, number int64) {
		_, err := io.Copy(c, c)
		mu.Lock()
		defer mu.Unlock()
		ended[number] = time.Since(began)
		if err != nil {
			t.Errorf("number %d ended with %v", number, err)
		}
	}, func(t *testing.T, w *spareWorld) {
		began = time.Now()
		c, _ := w.numbered()
		time.Sleep(SpareTime * 9 / 10)
		mu.Lock()
		if n := w.came.Load(); n != 4 || len(ended) != 0 {
			t.Errorf("%d connections came, %d ended", n, len(ended))
		}
		mu.Unlock()
		time.Sleep(SpareTime)
		mustEcho(t, c, "still there")
		mu.Lock()
		defer mu.Unlock()
		if n := w.came.Load(); n != 4 || len(ended) != 3 || ended[1] != 0 {
			t.Errorf("of %d connections ended %v", n, ended)
		}
		if n := w.serve.Streams.Len(); n != 1 {
			t.Errorf("%d streams are served", n)
		}
		for name, n := range counts(w.serve) {
			if strings.Contains(name, "failed") && n != 0 {
				t.Errorf("%s is %d", name, n)
			}
		}
	})
}

// A spare connection that the service has ended is not handed out, also where
// the service said something first, nor is one whose peer is gone.
func TestDeadSpareIsNotTaken(t *testing.T) {
	for name, end := range map[string]func(c *testnet.Conn){
		"closed":     func(c *testnet.Conn) {},
		"reset":      func(c *testnet.Conn) { c.Reset() },
		"timed out":  func(c *testnet.Conn) { _, _ = io.WriteString(c, "408 too slow\n") },
		"half-ended": func(c *testnet.Conn) { _ = c.CloseWrite(); _, _ = io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			inSpareWorld(t, 1, func(c *testnet.Conn, number int64) {
				if number == 2 {
					end(c)
					return
				}
				echoConn(c)
			}, func(t *testing.T, w *spareWorld) {
				_, _ = w.numbered()
				time.Sleep(time.Second)
				c, number := w.numbered()
				if number != 3 {
					t.Errorf("got number %d", number)
				}
				mustEcho(t, c, "works")
			})
		})
	}
}

// The end of a stream is seen the first time it is looked for, on every transport.
func TestAliveSeesTheEnd(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		came := make(chan network.Stream, 2)
		serve.host.SetStreamHandler(web, func(s network.Stream) {
			_, _ = io.CopyN(s, s, 1)
			came <- s
		})
		open := func() (near, far network.Stream) {
			near = openStream(t, dial.host, serve.self)
			_, _ = near.Write([]byte("x"))
			if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			return near, testkit.Receive(t, came, "a stream")
		}
		ended, farEnded := open()
		other, farOther := open()
		if got := alive(ended); got != ended {
			t.Errorf("an open stream is %v", got)
		}
		_ = farEnded.CloseWrite()
		_, _ = farOther.Write([]byte("x"))
		_, _ = io.ReadFull(other, make([]byte, 1)) // comes after the end of the first one
		if got := alive(ended); got != nil {
			t.Errorf("an ended stream is %v", got)
		}
		for _, s := range []network.Stream{ended, other, farEnded, farOther} {
			_ = s.Reset()
		}
	})
}

func TestSpareOfALostConnection(t *testing.T) {
	inSpareWorld(t, 1, echoNumbered, func(t *testing.T, w *spareWorld) {
		_, _ = w.numbered()
		time.Sleep(time.Second)
		w.net.Reset(w.a, w.b)
		synctest.Wait()
		c, number := w.numbered()
		if number != 3 {
			t.Errorf("got number %d", number)
		}
		mustEcho(t, c, "works")
	})
}

// The end of the listener or of all tunnels ends spare streams that wait and those
// that are being made, at once.
func TestSparesEnd(t *testing.T) {
	for name, end := range map[string]func(w *spareWorld){
		"listener": func(w *spareWorld) { _ = w.tunnel.Close() },
		"tunnels":  func(w *spareWorld) { _ = w.dial.Close() },
	} {
		for came, partition := range map[int64]bool{3: false, 1: true} {
			t.Run(fmt.Sprint(name, ", partition ", partition), func(t *testing.T) {
				inSpareWorld(t, 2, echoNumbered, func(t *testing.T, w *spareWorld) {
					_, _ = w.numbered()
					if partition { // while a spare stream waits for its peer's answer
						w.net.Partition([]netip.Addr{w.a}, []netip.Addr{w.b})
					}
					time.Sleep(time.Second)
					if n := w.came.Load(); n != came {
						t.Errorf("%d connections came, not %d", n, came)
					}
					began := time.Now()
					end(w)
					if d := time.Since(began); d > 0 {
						t.Errorf("took %v", d)
					}
					w.net.Heal()
					time.Sleep(time.Minute)
					open := tunnelled(w.dial.host.Network().ConnsToPeer(w.serve.self))
					if n := w.dial.Streams.Len(); open > n {
						t.Errorf("%d streams are open, %d run", open, n)
					}
				})
			})
		}
	}
}

// However long it takes to make the spare streams, they are made once.
func TestSparesAreNotMadeForEver(t *testing.T) {
	inSpareWorld(t, 10, echoNumbered, func(t *testing.T, w *spareWorld) {
		w.net.SetLink(func(from, to netip.Addr) testnet.Link { return testnet.Link{Latency: time.Second} })
		_, _ = w.numbered()
		time.Sleep(time.Minute)
		if n := w.came.Load(); n > 11 {
			t.Errorf("%d connections came", n)
		}
		if n := w.serve.Streams.Len(); n != 1 {
			t.Errorf("%d streams are served", n)
		}
	})
}

// A service that talks and does not listen learns that a spare connection has
// ended, by whatever it is ended.
func TestSpareOfAServiceThatTalks(t *testing.T) {
	for name, end := range map[string]func(w *spareWorld){
		"expired": func(w *spareWorld) { time.Sleep(SpareTime) },
		"closed":  func(w *spareWorld) { _ = w.tunnel.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inSpareWorld(t, 2, func(c *testnet.Conn, _ int64) {
				for {
					if _, err := io.WriteString(c, "tick\n"); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}, func(t *testing.T, w *spareWorld) {
				_, _ = w.numbered()
				time.Sleep(time.Second)
				if n := w.serve.Streams.Len(); n != 3 {
					t.Errorf("%d streams are served", n)
				}
				end(w)
				time.Sleep(5 * time.Second)
				if n := w.serve.Streams.Len(); n != 1 {
					t.Errorf("%d streams are served", n)
				}
			})
		})
	}
}

// Spare streams leave half of a QUIC connection to others, and are no reason to dial.
func TestSparesLeaveRoom(t *testing.T) {
	a, b := newPair(t, transports[1])
	dial, serve := newTunnels(t, a), newTunnels(t, b)
	if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
		t.Fatal(err)
	}
	want := func(n int) {
		t.Helper()
		if got := sparesMade(t, dial, serve.self, WithSpares(2)); got != n {
			t.Errorf("made %d, want %d", got, n)
		}
	}
	want(0)
	if n := len(a.Network().ConnsToPeer(b.ID())); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	if err := a.Connect(t.Context(), peer.AddrInfo{ID: b.ID()}); err != nil {
		t.Fatal(err)
	}
	want(2)
	conns := a.Network().ConnsToPeer(b.ID())
	use := func(n int) {
		dial.slots.mu.Lock()
		defer dial.slots.mu.Unlock()
		for _, c := range conns {
			dial.slots.opening[c] += n
		}
	}
	use(quicStreams / 2)
	want(0)
	use(-quicStreams / 2)
	want(2)
}

// Close of all tunnels waits for spare streams that are being made, also when it is
// another call that closes their listener.
func TestCloseWaitsForSpares(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		d, err := w.dial.dialSpec(t.Context(), nil, w.serve.self, web, []Option{WithSpares(1)})
		if err != nil {
			t.Fatal(err)
		}
		sp := w.dial.newSpares(d)
		defer sp.close()
		filling := func() bool {
			sp.mu.Lock()
			defer sp.mu.Unlock()
			return sp.filling != nil
		}
		sp.refill()
		if !filling() {
			t.Error("nothing is made")
		}
		_ = w.dial.Close()
		if filling() {
			t.Error("Close did not wait")
		}
		sp.refill()
		if filling() {
			t.Error("streams are made after Close")
		}
	})
}

// sparesMade is how many spare streams a connection would give rise to now.
func sparesMade(t *testing.T, dial *P2P, to peer.ID, opts ...Option) int {
	t.Helper()
	d, err := dial.dialSpec(t.Context(), nil, to, web, opts)
	if err != nil {
		t.Fatal(err)
	}
	sp := dial.newSpares(d)
	defer sp.close()
	sp.refill()
	sp.work.Wait()
	return len(sp.ready)
}

// tunnelled counts the streams of the tunnel.
func tunnelled(conns []network.Conn) (n int) {
	for _, c := range conns {
		for _, s := range c.GetStreams() {
			if s.Protocol() == web {
				n++
			}
		}
	}
	return n
}

// What a service says first arrives whole, be it longer than what is read to see
// whether a spare stream is alive.
func TestSpareLosesNothing(t *testing.T) {
	for _, size := range []int{0, 1, headSize - 1, headSize, headSize + 1, 100_000} {
		banner := strings.Repeat("welcome ", size/8+1)[:size]
		overTransports(t, func(t *testing.T, dial, serve *P2P) {
			came := make(chan struct{}, 100)
			target := service(t, func(c *net.TCPConn) {
				_, _ = io.WriteString(c, banner)
				came <- struct{}{}
				_, _ = io.Copy(c, c)
			})
			if _, err := serve.NewListener(t.Context(), web, target); err != nil {
				t.Fatal(err)
			}
			at := bind(t, dial, serve.self, WithSpares(1))
			for i := range 4 {
				c := connect(t, at)
				testkit.Receive(t, came, "a connection")
				request := bytes.Repeat([]byte{byte(i)}, 1000)
				_, _ = c.Write(request)
				_ = c.CloseWrite()
				got, err := io.ReadAll(c)
				if err != nil || string(got) != banner+string(request) {
					t.Errorf("connection %d: %d of %d bytes, %v", i, len(got), size+len(request), err)
				}
			}
			_ = dial.Close()
			awaitEmpty(t, serve)
		})
	}
}
