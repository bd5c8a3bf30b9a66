package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

func TestResetOfTheServiceReachesTheClient(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
		}))
		c := connect(t, at)
		_, _ = c.Write([]byte("x"))
		wantReset(t, c)
		awaitEmpty(t, dial, serve)
	})
}

func TestResetOfTheClientReachesTheService(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		got := make(chan error, 1)
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = c.Write([]byte("x"))
			_, err := io.Copy(io.Discard, c)
			got <- err
		}))
		c := connect(t, at)
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.SetLinger(0)
		_ = c.Close()
		wantErr(t, testkit.Receive(t, got, "service to see the reset"), syscall.ECONNRESET)
		awaitEmpty(t, dial, serve)
	})
}

func TestRefusingTargetResetsAtOnce(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, freePort(t))
		begin := time.Now()
		wantRefused(t, at)
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		c, err := dial.DialConn(t.Context(), serve.self, web)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		wantErr(t, err, ErrTargetRefused)
	})
}

// kubo closes both directions of a stream as soon as one has ended.
func TestPeerThatCannotHalfClose(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		serve.host.SetStreamHandler(web, func(s network.Stream) {
			_, _ = s.Read(make([]byte, 1))
			_, _ = io.WriteString(s, "answer")
			_ = s.Close()
		})
		at := bind(t, dial, serve.self, WithStallTimeout(200*time.Millisecond))

		// A client that reads to the end sees all of the answer.
		c := connect(t, at)
		_, _ = c.Write([]byte("?"))
		if got, err := io.ReadAll(c); err != nil || string(got) != "answer" {
			t.Errorf("got %q, %v", got, err)
		}
		_ = c.Close()
		awaitEmpty(t, dial)

		// A client that goes on sending for ever is cut off.
		c = connect(t, at)
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Write(buf); err != nil {
				if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "timeout") {
					t.Error("the client hangs")
				}
				break
			}
		}
		awaitEmpty(t, dial)
	})
}

// A stream that is reset before it is used, and one that ends without a byte.
func TestEmptyStreams(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t))
		for range 20 {
			c := connect(t, at)
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
				t.Fatalf("got %q, %v", got, err)
			}
			s := openStream(t, dial.host, serve.self)
			_ = s.Reset()
		}
		awaitEmpty(t, dial, serve)
	})
}

func TestIdleTimeout(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		if _, err := serve.NewListener(t.Context(), web, echoService(t), WithIdleTimeout(300*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		c := connect(t, bind(t, dial, serve.self))
		mustEcho(t, c, "x")
		wantReset(t, c)
		awaitEmpty(t, dial, serve)
	})
}

// A QUIC connection carries 256 streams. What comes on top is refused at once,
// and there is room again when one ends.
func TestQUICStreamLimit(t *testing.T) {
	a, b := newPair(t, transports[1])
	dial, serve := newTunnels(t, a), newTunnels(t, b)
	at := tunnel(t, dial, serve, echoService(t))
	const asked, own = quicStreams + 24, 8 // libp2p itself may hold a few
	works := make(chan net.Conn, asked)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range asked {
		c, err := net.Dial("tcp", at)
		if err != nil { // the reset may come as early as that
			wantErr(t, err, syscall.ECONNRESET)
			continue
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(deadline))
		wg.Go(func() {
			err := echoOnce(c, fmt.Sprint(i))
			if err == nil {
				works <- c
				return
			}
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := len(works); n > quicStreams || n < quicStreams-own {
		t.Errorf("%d of %d connections work", n, asked)
	}
	if d := time.Since(begin); d > deadline/2 {
		t.Errorf("took %v", d)
	}

	for i := 0; ; i++ {
		begin = time.Now()
		c, err := dial.DialConn(t.Context(), serve.self, web)
		if err != nil {
			wantErr(t, err, ErrLimit)
			if limit, ok := errors.AsType[*stream.LimitError](err); !ok || limit.Scope != stream.ScopeConnection {
				t.Errorf("limit %+v", limit)
			}
			break
		}
		defer c.Close()
		if i > own {
			t.Fatal("the connection is never full")
		}
	}
	if d := time.Since(begin); d > quicOpenTimeout/2 {
		t.Errorf("refusing took %v", d)
	}
	wantRefused(t, at)

	_ = (<-works).Close()
	// The connection has room when libp2p has let go of the stream, a moment after its
	// end, and while none of libp2p's own has the place.
	testkit.Eventually(t, "room again", func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(deadline))
		return echoOnce(c, "room again") == nil
	})
}

func TestClosingAListenerKeepsItsStreams(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t))
		c := connect(t, at)
		mustEcho(t, c, "before")
		closed, running := dial.Listeners.Close(listener.ByProtocol(web))
		if len(closed) != 1 || len(running) != 1 || running[0].Protocol != web {
			t.Fatalf("closed %v, running %v", closed, running)
		}
		if err := closed[0].Err(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Err: %v", err)
		}
		mustEcho(t, c, "after")
		if _, err := net.Dial("tcp", at); err == nil {
			t.Error("still listening")
		}
		_, kept := serve.Listeners.Close(listener.All())
		if len(kept) != 1 || serve.CheckProtoExists(web) {
			t.Errorf("kept %v, still served %t", kept, serve.CheckProtoExists(web))
		}
		mustEcho(t, c, "after both")
		if got := serve.Streams.Close(stream.ByPeer(dial.self)); len(got) != 1 {
			t.Errorf("closed %v", got)
		}
		wantReset(t, c)
	})
}

func TestCloseBy(t *testing.T) {
	dial, serve := newPair(t, transports[0])
	p, q := newTunnels(t, dial), newTunnels(t, serve)
	target := echoService(t)
	for _, tc := range []struct {
		name  string
		match func(l listener.Info) listener.Match
	}{
		{"id", func(l listener.Info) listener.Match { return listener.ByID(l.ID) }},
		{"protocol", func(l listener.Info) listener.Match { return listener.ByProtocol(l.Protocol) }},
		{"target", func(l listener.Info) listener.Match { return listener.ByTarget(l.Target) }},
		{"listen address", func(l listener.Info) listener.Match { return listener.ByListenAddress(l.Listen) }},
		{"all", func(listener.Info) listener.Match { return listener.All() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := tunnel(t, p, q, target)
			c := connect(t, at)
			mustEcho(t, c, "x")
			_, streams := p.Listeners.CloseStreams(tc.match(p.Listeners.List()[0]))
			if len(streams) != 1 || len(p.Listeners.List()) != 0 || p.Streams.Len() != 0 {
				t.Errorf("closed streams %v", streams)
			}
			wantReset(t, c)
			_, _ = q.Listeners.CloseStreams(tc.match(q.Listeners.List()[0]))
			if len(q.Listeners.List()) != 0 || q.Streams.Len() != 0 {
				t.Error("serving side still there")
			}
		})
	}
}

func TestContextEndsTheTunnel(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		ctx, cancel := context.WithCancel(t.Context())
		served, err := serve.NewListener(ctx, web, echoService(t))
		if err != nil {
			t.Fatal(err)
		}
		l, err := dial.Dial(ctx, nil, serve.self, web, testkit.Addr(t, loopback))
		if err != nil {
			t.Fatal(err)
		}
		c := connectInfo(t, l)
		mustEcho(t, c, "x")
		cancel()
		testkit.Receive(t, l.Done(), "tunnel to close")
		testkit.Receive(t, served.Done(), "service to close")
		wantReset(t, c)
		awaitEmpty(t, dial, serve)
		if serve.CheckProtoExists(web) {
			t.Error("still served")
		}
		if _, err := dial.Dial(ctx, nil, serve.self, web, testkit.Addr(t, loopback)); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial under a context that has ended: %v", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t))
		c := connect(t, at)
		mustEcho(t, c, "x")
		pc, err := dial.DialConn(t.Context(), serve.self, web)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _ = dial.Close() })
		}
		wg.Wait()
		wantReset(t, c)
		if _, err := pc.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("DialConn's connection: %v", err)
		}
		_, err = dial.DialConn(t.Context(), serve.self, web)
		wantErr(t, err, net.ErrClosed)
		_, err = dial.NewListener(t.Context(), web, echoService(t))
		wantErr(t, err, net.ErrClosed)
		_, err = dial.Dial(t.Context(), nil, serve.self, web, testkit.Addr(t, loopback))
		wantErr(t, err, ErrClosed)
	})
}

func TestUnixSockets(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		dir := t.TempDir()
		ln, err := net.Listen("unix", dir+"/service")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			all, _ := io.ReadAll(c)
			_, _ = c.Write(all)
		})
		if _, err := serve.NewListener(t.Context(), web, testkit.Addr(t, "/unix"+dir+"/service")); err != nil {
			t.Fatal(err)
		}
		l, err := dial.Dial(t.Context(), nil, serve.self, web, testkit.Addr(t, "/unix"+dir+"/bind"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", hostPort(t, l.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(deadline))
		_, _ = io.WriteString(c, "over unix sockets")
		_ = c.(*net.UnixConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "over unix sockets" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
