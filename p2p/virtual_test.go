package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/stream"
)

// A world is two nodes of an in-memory network in virtual time, with tunnels,
// and with local sockets that are in memory, too.
type world struct {
	t           *testing.T
	net         *testnet.Net
	a, b        netip.Addr
	dial, serve *P2P
	services    sync.WaitGroup
	last        net.Listener // of service
}

// inWorld runs a test in a bubble.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := testnet.New(1, testnet.WithLink(testnet.Link{Latency: 10 * time.Millisecond}))
		w := &world{t: t, net: n, a: n.Node(1), b: n.Node(2)}
		ha, hb := n.Host(t, w.a), n.Host(t, w.b)
		ha.Peerstore().AddAddrs(hb.ID(), hb.Addrs(), peerstore.PermanentAddrTTL)
		w.dial, w.serve = newTunnels(t, ha), newTunnels(t, hb)
		w.inMemory(w.dial, w.a)
		w.inMemory(w.serve, w.b)
		test(t, w)
	})
}

func (w *world) inMemory(p *P2P, node netip.Addr) {
	p.bindTo = func(_ context.Context, s socketAddr) (net.Listener, error) {
		at, err := netip.ParseAddrPort(s.address)
		if err != nil {
			return nil, err
		}
		return w.net.Listen(netip.AddrPortFrom(node, at.Port()))
	}
	p.dialTo = func(ctx context.Context, s socketAddr, set settings) (net.Conn, error) {
		at, err := netip.ParseAddrPort(s.address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, set.dialTimeout)
		defer cancel()
		return w.net.Dial(ctx, node, netip.AddrPortFrom(node, at.Port()))
	}
}

// service runs on the serving node.
func (w *world) service(handle func(c *testnet.Conn)) ma.Multiaddr {
	ln, err := w.net.Listen(netip.AddrPortFrom(w.b, 0))
	if err != nil {
		w.t.Fatal(err)
	}
	w.last = ln
	w.services.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.services.Go(func() {
				defer c.Close()
				handle(c.(*testnet.Conn))
			})
		}
	})
	w.t.Cleanup(func() { _ = ln.Close(); w.services.Wait() })
	return multiaddr(w.t, ln.Addr())
}

func (w *world) tunnel(target ma.Multiaddr, opts ...Option) ma.Multiaddr {
	if _, err := w.serve.NewListener(context.Background(), web, target, opts...); err != nil {
		w.t.Fatal(err)
	}
	l, err := w.dial.Dial(context.Background(), nil, w.serve.self, web, testkit.Addr(w.t, loopback))
	if err != nil {
		w.t.Fatal(err)
	}
	return l.Listen
}

func (w *world) connect(at ma.Multiaddr) *testnet.Conn {
	to, err := netip.ParseAddrPort(hostPort(w.t, at))
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := w.net.Dial(context.Background(), w.a, to)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func echoConn(c *testnet.Conn) { _, _ = io.Copy(c, c) }

// Row 28, in the in-memory network: half-close, each way.
func TestVirtualHalfClose(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		heard := make(chan string, 1)
		at := w.tunnel(w.service(func(c *testnet.Conn) {
			question, _ := io.ReadAll(c)
			_, _ = io.WriteString(c, strings.ToUpper(string(question)))
			_ = c.CloseWrite()
			heard <- string(question)
		}))
		c := w.connect(at)
		_, _ = io.WriteString(c, "question")
		_ = c.CloseWrite()
		// Long after the client has finished, the answer still comes.
		time.Sleep(10 * time.Minute)
		if got, err := io.ReadAll(c); err != nil || string(got) != "QUESTION" {
			t.Errorf("got %q, %v", got, err)
		}
		<-heard
	})
}

func TestVirtualDownloadThenClose(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		data := bytes.Repeat([]byte("0123456789"), 400_000)
		at := w.tunnel(w.service(func(c *testnet.Conn) { _, _ = c.Write(data) }))
		for range 5 {
			if got, err := io.ReadAll(w.connect(at)); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d of %d bytes, %v", len(got), len(data), err)
			}
		}
	})
}

// A service that anybody may use ends idle connections after two hours; a
// connection that moves now and then lives on.
func TestVirtualDefaultIdleTimeout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.tunnel(w.service(echoConn))
		idle, used := w.connect(at), w.connect(at)
		mustEcho(t, idle, "x")
		for range 3 {
			mustEcho(t, used, "x")
			time.Sleep(DefaultServedIdle * 9 / 10)
		}
		mustEcho(t, used, "still there")
		if err := echoOnce(idle, "x"); err == nil {
			t.Error("the idle connection is still there")
		}
		if n := w.serve.Streams.Len(); n != 1 {
			t.Errorf("%d streams", n)
		}
	})
}

// A tunnel that says itself whom it admits never ends its connections, nor does
// the dialling side. The admission of the owner of all tunnels does not make one
// for few.
func TestVirtualIdleTimeoutByAdmission(t *testing.T) {
	everybody := WithAdmitFunc(func(peer.ID) bool { return true })
	for name, tc := range map[string]struct {
		opts func(w *world) []Option
		want error
	}{
		"by the owner": {func(*world) []Option { return nil }, ErrIdle},
		"by function":  {func(*world) []Option { return []Option{everybody} }, nil},
		"by names":     {func(w *world) []Option { return []Option{WithAdmit(w.dial.self)} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve = newTunnels(t, w.serve.host, everybody)
				w.inMemory(w.serve, w.b)
				c := w.connect(w.tunnel(w.service(echoConn), tc.opts(w)...))
				mustEcho(t, c, "x")
				served := w.serve.Streams.List()[0]
				time.Sleep(DefaultServedIdle - time.Minute)
				if err := served.Err(); err != nil {
					t.Errorf("before two hours: %v", err)
				}
				time.Sleep(DefaultServedIdle / 2)
				synctest.Wait()
				if err := served.Err(); !errors.Is(err, tc.want) {
					t.Errorf("after three hours: %v, want %v", err, tc.want)
				}
				if err := echoOnce(c, "x"); (err == nil) != (tc.want == nil) {
					t.Errorf("echo: %v", err)
				}
			})
		})
	}
}

// A peer that has closed altogether looks half-closed on yamux, and swallows
// what it is sent. The stream ends after the stall timeout.
func TestVirtualStall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve.host.SetStreamHandler(web, func(s network.Stream) { _ = s.Close() })
		l, err := w.dial.Dial(context.Background(), nil, w.serve.self, web, testkit.Addr(t, loopback))
		if err != nil {
			t.Fatal(err)
		}
		c := w.connect(l.Listen)
		synctest.Wait()
		running := w.dial.Streams.List()[0]
		begin := time.Now()
		for err == nil {
			_, err = c.Write(make([]byte, 64<<10))
		}
		if d := time.Since(begin); d < stream.DefaultStall || d > 2*stream.DefaultStall {
			t.Errorf("cut off after %v: %v", d, err)
		}
		synctest.Wait()
		wantErr(t, running.Err(), ErrStalled)
		if n := w.dial.Streams.Len(); n != 0 {
			t.Errorf("%d streams left", n)
		}
	})
}

// A slow reader that has finished sending is not taken for a dead one.
func TestVirtualSlowReaderIsNotCutOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const size = 4 << 20
		at := w.tunnel(w.service(func(c *testnet.Conn) { _, _ = c.Write(make([]byte, size)) }))
		c := w.connect(at)
		_ = c.CloseWrite()
		got := 0
		buf := make([]byte, 256<<10)
		for {
			n, err := c.Read(buf)
			got += n
			if err != nil {
				if !errors.Is(err, io.EOF) || got != size {
					t.Errorf("%d of %d bytes, %v", got, size, err)
				}
				return
			}
			time.Sleep(45 * time.Second)
		}
	})
}

// An unreachable peer costs a local client the dial timeout, and a peer that
// comes back is reached by the next connection.
func TestVirtualOutage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.tunnel(w.service(echoConn))
		running := w.connect(at)
		mustEcho(t, running, "before")

		w.net.Partition([]netip.Addr{w.a}, []netip.Addr{w.b})
		begin := time.Now()
		c := w.connect(at)
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a byte came through the partition")
		}
		if d := time.Since(begin); d > DefaultDialTimeout+time.Second {
			t.Errorf("refused after %v", d)
		}
		if _, err := running.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the lost connection ends with %v", err)
		}
		time.Sleep(10 * time.Minute)
		w.net.Heal()
		mustEcho(t, w.connect(at), "after")
	})
}

// A check asks the peer, also where the peerstore and a connection that is not
// dead yet say that all is well.
func TestVirtualCheckBehindAPartition(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustEcho(t, w.connect(w.tunnel(w.service(echoConn))), "before")
		if known, _ := w.dial.peerstore.SupportsProtocols(w.serve.self, web); len(known) == 0 || w.dial.host.Network().Connectedness(w.serve.self) != network.Connected {
			t.Fatal("the peer is not known")
		}
		w.net.Partition([]netip.Addr{w.a}, []netip.Addr{w.b})
		const limit = 5 * time.Second // sooner than the connection is found dead
		check := func(opts ...Option) error { return w.dial.CheckRemote(t.Context(), w.serve.self, web, opts...) }
		begin := time.Now()
		wantErr(t, check(WithDialTimeout(limit)), ErrUnreachable)
		if d := time.Since(begin); d != limit {
			t.Errorf("took %v", d)
		}
		_, err := w.dial.Dial(t.Context(), nil, w.serve.self, web, testkit.Addr(t, loopback), WithCheck(), WithDialTimeout(limit))
		wantErr(t, err, ErrUnreachable)
		if n := len(w.dial.Listeners.List()); n != 1 {
			t.Errorf("%d listeners", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, w.dial.CheckRemote(ctx, w.serve.self, web), context.DeadlineExceeded)
		wantErr(t, check(), ErrUnreachable) // during which it is found dead
		w.net.Heal()
		if err := check(); err != nil {
			t.Errorf("after the partition: %v", err)
		}
		synctest.Wait()
		if n := w.serve.Streams.Len(); n > 1 {
			t.Errorf("checks left %d streams", n)
		}
	})
}

// A check that finds out that the connection is dead makes another one.
func TestVirtualCheckOverADeadConnection(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustEcho(t, w.connect(w.tunnel(w.service(echoConn))), "before")
		w.net.Cut(w.a, w.b)
		checked := make(chan error)
		go func() { checked <- w.dial.CheckRemote(t.Context(), w.serve.self, web) }()
		time.Sleep(time.Second)
		w.net.Reset(w.a, w.b)
		w.net.Heal()
		if err := <-checked; err != nil {
			t.Error(err)
		}
	})
}

// A short fault is ridden out: the connection goes on where it was.
func TestVirtualShortFault(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.tunnel(w.service(echoConn))
		c := w.connect(at)
		mustEcho(t, c, "before")
		w.net.Partition([]netip.Addr{w.a}, []netip.Addr{w.b})
		_, _ = c.Write([]byte("during"))
		time.Sleep(5 * time.Second)
		w.net.Heal()
		got := make([]byte, 6)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "during" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// Row 30: a hostile peer opens streams without end. It gets its share, the
// service sees no more than that, and others get through.
func TestVirtualStreamFlood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const share = 32
		var mu sync.Mutex
		running, most := 0, 0
		target := w.service(func(c *testnet.Conn) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			_, _ = io.Copy(c, c)
			mu.Lock()
			running--
			mu.Unlock()
		})
		at := w.tunnel(target, WithMaxStreamsPerPeer(share), WithIdleTimeout(time.Minute))
		hostile := w.net.Host(t, w.net.Node(3))
		hostile.Peerstore().AddAddrs(w.serve.self, w.serve.host.Addrs(), peerstore.PermanentAddrTTL)
		var open []network.Stream
		for range 2000 {
			s, err := hostile.NewStream(t.Context(), w.serve.self, web)
			if err != nil {
				continue
			}
			_, _ = s.Write([]byte("x"))
			open = append(open, s)
		}
		mustEcho(t, w.connect(at), "honest")
		mu.Lock()
		if most > share+1 {
			t.Errorf("the service had %d connections", most)
		}
		mu.Unlock()
		if l := w.serve.Listeners.List()[0]; l.Refused == 0 || l.Active > share+1 {
			t.Errorf("%d refused, %d running", l.Refused, l.Active)
		}
		time.Sleep(2 * time.Minute) // none of them says anything more
		if n := w.serve.Streams.Len(); n != 0 {
			t.Errorf("%d idle streams left", n)
		}
		for _, s := range open {
			_ = s.Reset()
		}
	})
}

// A storm of streams that are opened and reset leaves nothing behind.
func TestVirtualResetStorm(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.tunnel(w.service(echoConn))
		for range 2000 {
			s, err := w.dial.host.NewStream(t.Context(), w.serve.self, web)
			if err != nil {
				continue
			}
			_, _ = s.Write([]byte("x"))
			_ = s.Reset()
		}
		time.Sleep(time.Second) // what is in the air may still fill the peer's share
		mustEcho(t, w.connect(at), "after the storm")
		synctest.Wait()
		if n := w.serve.Streams.Len(); n != 1 {
			t.Errorf("%d streams left", n)
		}
	})
}

// A peer that lost its power and is back: the old connection looks alive, and the
// first connection through the tunnel works all the same.
func TestVirtualFirstConnectionAfterACrash(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.tunnel(w.service(echoConn))
		mustEcho(t, w.connect(at), "before")
		_ = w.last.Close()
		time.Sleep(time.Minute)
		w.net.Crash(w.b)
		_ = w.serve.Close()
		_ = w.serve.host.Close()
		w.net.Restart(w.b)
		w.serve = newTunnels(t, w.net.Host(t, w.b))
		w.inMemory(w.serve, w.b)
		if _, err := w.serve.NewListener(context.Background(), web, w.service(echoConn)); err != nil {
			t.Fatal(err)
		}
		mustEcho(t, w.connect(at), "after")
	})
}

// Nobody reads any more from a service that has finished sending. That its host
// is gone is noticed all the same.
func TestVirtualLostConnectionAfterHalfClose(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := w.tunnel(w.service(func(c *testnet.Conn) {
			_, _ = io.WriteString(c, "that is all")
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}))
		c := w.connect(at)
		if got, err := io.ReadAll(c); err != nil || string(got) != "that is all" {
			t.Fatalf("got %q, %v", got, err)
		}
		w.net.Reset(w.a, w.b)
		time.Sleep(10 * time.Second)
		if n := w.dial.Streams.Len() + w.serve.Streams.Len(); n != 0 {
			t.Errorf("%d streams", n)
		}
		_, err := c.Write([]byte("anybody?")) // what tells it comes back
		time.Sleep(time.Second)
		if err == nil {
			_, err = c.Write([]byte("anybody?"))
		}
		if err == nil {
			t.Error("the client can still write")
		}
	})
}
