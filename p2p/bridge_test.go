package p2p

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// The eight mistakes that older tunnels made.

// 1. One stream was opened up front, and exactly one local connection served.
func TestEveryConnectionHasItsOwnStream(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t))
		a, b := connect(t, at), connect(t, at)
		mustEcho(t, b, "second")
		mustEcho(t, a, "first")
		_ = a.Close()
		mustEcho(t, b, "second goes on")
		mustEcho(t, connect(t, at), "third")
	})
}

// 2. The first EOF closed both directions: the answer to a half-closing client
// was lost.
func TestHalfCloseByClient(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			question, err := io.ReadAll(c)
			if err != nil {
				t.Errorf("service: %v", err)
			}
			for range 3 { // more than once, so that a late close would show
				_, _ = c.Write([]byte(strings.ToUpper(string(question))))
			}
		}))
		c := connect(t, at)
		if _, err := io.WriteString(c, "question "); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if want := strings.Repeat("QUESTION ", 3); err != nil || string(answer) != want {
			t.Errorf("got %q, %v", answer, err)
		}
	})
}

// The other way round: the service finishes first and still listens.
func TestHalfCloseByService(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		heard := make(chan string, 1)
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "hello")
			_ = c.CloseWrite()
			all, err := io.ReadAll(c)
			if err != nil {
				t.Errorf("service: %v", err)
			}
			heard <- string(all)
		}))
		c := connect(t, at)
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
			t.Fatalf("got %q, %v", got, err)
		}
		for range 3 {
			if _, err := io.WriteString(c, "still here "); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.CloseWrite()
		if got := testkit.Receive(t, heard, "service to hear"); got != strings.Repeat("still here ", 3) {
			t.Errorf("service heard %q", got)
		}
	})
}

// 3. On QUIC the copy that failed after Close called Reset, which cancels data
// not yet delivered: the tail of a download was cut.
//
// TUNNEL_DOWNLOADS=1000 runs it as often; TUNNEL_DOWNLOAD_MB sets the size.
func TestDownloadThenCloseArrivesWhole(t *testing.T) {
	times, size := envInt("TUNNEL_DOWNLOADS", 2), envInt("TUNNEL_DOWNLOAD_MB", 64)<<20
	data := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
	want := sha256.Sum256(data)
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1)) // the question
			_, _ = c.Write(data)
			_ = c.Close()
		}))
		for i := range times {
			c := connect(t, at)
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			_, _ = c.Write([]byte("?"))
			if i%2 == 0 {
				// The other direction is over before the answer comes, so that
				// nothing but the answer holds the stream.
				_ = c.CloseWrite()
			}
			h := sha256.New()
			n, err := io.Copy(h, c)
			if err != nil || n != int64(size) || [32]byte(h.Sum(nil)) != want {
				t.Fatalf("download %d: %d of %d bytes, %v", i, n, size, err)
			}
			_ = c.Close()
		}
	})
}

// The same with a client that has not finished sending when the service closes,
// and with small answers, where the close is right behind the data.
func TestSmallAnswersThenCloseArriveWhole(t *testing.T) {
	times := envInt("TUNNEL_ANSWERS", 300)
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		answer := bytes.Repeat([]byte("x"), 100_000)
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = io.ReadFull(c, make([]byte, 4))
			_, _ = c.Write(answer)
		}))
		for i := range times {
			c := connect(t, at)
			_, _ = c.Write([]byte("GET "))
			if i%2 == 0 {
				_ = c.CloseWrite()
			}
			got, err := io.ReadAll(c)
			if err != nil || len(got) != len(answer) {
				t.Fatalf("answer %d: %d of %d bytes, %v", i, len(got), len(answer), err)
			}
			_ = c.Close()
		}
	})
}

// 4. Dialling the target had no deadline, and the accept loop dialled in line,
// so that one slow target blocked all.
func TestSlowTargetDelaysNobody(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		// A listener whose backlog is full never answers.
		stuck := fullBacklog(t)
		if _, err := serve.NewListener(t.Context(), "/x/stuck", stuck, WithDialTimeout(time.Second)); err != nil {
			t.Fatal(err)
		}
		slow, err := dial.Dial(t.Context(), nil, serve.self, "/x/stuck", testkit.Addr(t, loopback))
		if err != nil {
			t.Fatal(err)
		}
		at := tunnel(t, dial, serve, echoService(t))

		waiting := connectInfo(t, slow)
		begin := time.Now()
		mustEcho(t, connect(t, at), "quick")
		if d := time.Since(begin); d > 900*time.Millisecond {
			t.Errorf("took %v beside a slow target", d)
		}
		wantReset(t, waiting) // after the dial timeout
	})
}

// 5. No limit on who may connect, how many, how long idle; no byte counts.
func TestAdmission(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t), WithAdmit("somebody else"))
		wantRefused(t, at)
		conn, err := dial.DialConn(t.Context(), serve.self, web)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(deadline))
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		wantErr(t, err, ErrNotAdmitted)
		awaitCount(t, serve, 0) // counted after the reset
		if l := serve.Listeners.List()[0]; l.Refused != 2 || l.Accepted != 0 {
			t.Errorf("refused %d, accepted %d", l.Refused, l.Accepted)
		}
	})
}

func TestMaxStreams(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		if _, err := serve.NewListener(t.Context(), web, echoService(t), WithMaxStreamsPerPeer(2)); err != nil {
			t.Fatal(err)
		}
		at := bind(t, dial, serve.self)
		a, b := connect(t, at), connect(t, at)
		mustEcho(t, a, "a")
		mustEcho(t, b, "b")
		wantRefused(t, at)
		mustEcho(t, a, "a goes on")
		_ = b.Close()
		awaitCount(t, serve, 1)
		mustEcho(t, connect(t, at), "room again")
	})
}

func TestByteCounts(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = io.Copy(io.Discard, c)
			_, _ = c.Write(make([]byte, 3000))
		}))
		c := connect(t, at)
		_, _ = c.Write(make([]byte, 1000))
		_ = c.CloseWrite()
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
		awaitEmpty(t, dial, serve)
		if l := dial.Listeners.List()[0]; l.BytesOut != 1000 || l.BytesIn != 3000 {
			t.Errorf("dialling side: out %d, in %d", l.BytesOut, l.BytesIn)
		}
		if l := serve.Listeners.List()[0]; l.BytesOut != 3000 || l.BytesIn != 1000 {
			t.Errorf("serving side: out %d, in %d", l.BytesOut, l.BytesIn)
		}
	})
}

// 6. A listener that failed to register leaked its socket. (Accept errors:
// package listener.)
func TestFailedListenerFreesItsSocket(t *testing.T) {
	dial, _ := newPair(t, transports[0])
	p := newTunnels(t, dial)
	free := freePort(t)
	_ = p.Close()
	p.ctx, p.cancel = context.WithCancel(context.Background()) // as if Close came in between
	defer p.cancel()
	if _, err := p.Dial(t.Context(), nil, dial.ID(), web, free); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Dial: %v", err)
	}
	ln, err := net.Listen("tcp", hostPort(t, free))
	if err != nil {
		t.Fatalf("the socket is still open: %v", err)
	}
	_ = ln.Close()
}

// 7. Addresses of the peer were stored for two minutes, so that tunnels outlived
// them. Active tunnels were not protected from connection trimming.
func TestAddressIsKeptWithTheTunnel(t *testing.T) {
	a, b := newHost(t, transports[0]), newHost(t, transports[0])
	dial, serve := newTunnels(t, a), newTunnels(t, b)
	if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
		t.Fatal(err)
	}
	known := b.Addrs()[0]
	l, err := dial.Dial(t.Context(), known, b.ID(), web, testkit.Addr(t, loopback))
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, connectInfo(t, l), "first")

	// Everything else forgets the peer.
	_ = a.Network().ClosePeer(b.ID())
	a.Peerstore().UpdateAddrs(b.ID(), peerstore.ConnectedAddrTTL, 0)
	a.Peerstore().UpdateAddrs(b.ID(), peerstore.RecentlyConnectedAddrTTL, 0)
	a.Peerstore().UpdateAddrs(b.ID(), peerstore.TempAddrTTL, 0)
	mustEcho(t, connectInfo(t, l), "after the peer was forgotten")
	a.Peerstore().ClearAddrs(b.ID())
	_ = a.Network().ClosePeer(b.ID())
	mustEcho(t, connectInfo(t, l), "even from the peerstore")
}

func TestRunningStreamsProtectThePeer(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t))
		protected := func() bool { return dial.host.ConnManager().IsProtected(serve.self, "") }
		if protected() {
			t.Error("protected before a connection")
		}
		a, b := connect(t, at), connect(t, at)
		mustEcho(t, a, "a")
		mustEcho(t, b, "b")
		streams := dial.Streams.List()
		_ = a.Close()
		awaitCount(t, dial, 1)
		if !protected() {
			t.Error("not protected while a connection runs")
		}
		_ = b.Close()
		for _, s := range streams {
			testkit.Receive(t, s.Done(), "streams to end")
		}
		awaitCount(t, dial, 0)
		if protected() {
			t.Error("still protected")
		}
	})
}

// 8. Peers reachable only through a limited relay could not be used.
func TestLimitedRelay(t *testing.T) {
	hop := newHost(t, transports[0], libp2p.EnableRelay(), libp2p.ForceReachabilityPublic())
	service, err := relay.New(hop)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	hidden := newRelayed(t, libp2p.NoListenAddrs)
	outside := newRelayed(t, libp2p.NoListenAddrs)
	hopInfo := peer.AddrInfo{ID: hop.ID(), Addrs: hop.Addrs()}
	for _, h := range []interface {
		Connect(context.Context, peer.AddrInfo) error
	}{hidden, outside} {
		if err := h.Connect(t.Context(), hopInfo); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Reserve(t.Context(), hidden, hopInfo); err != nil {
		t.Fatal(err)
	}
	via := testkit.Addr(t, hop.Addrs()[0].String()+"/p2p/"+hop.ID().String()+"/p2p-circuit")

	serve, dial := newTunnels(t, hidden), newTunnels(t, outside)
	if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
		t.Fatal(err)
	}
	refusing, err := dial.Dial(t.Context(), via, hidden.ID(), web, testkit.Addr(t, loopback), WithDialTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, hostPort(t, refusing.Listen)) // not asked for
	l, err := dial.Dial(t.Context(), via, hidden.ID(), web, testkit.Addr(t, loopback), WithLimitedRelay())
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, connectInfo(t, l), "through the relay")
	if conns := outside.Network().ConnsToPeer(hidden.ID()); len(conns) == 0 || !conns[0].Stat().Limited {
		t.Error("the connection is not a limited one")
	}
	if _, err := dial.DialConn(t.Context(), hidden.ID(), web, WithDialTimeout(2*time.Second)); !errors.Is(err, network.ErrLimitedConn) {
		t.Errorf("without the option: %v", err)
	}
}
