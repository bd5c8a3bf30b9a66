package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"golang.org/x/net/nettest"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/stream"
)

// connPair is a connection of two programs: c dialled it, and s was accepted by ln.
func connPair(t *testing.T, dial, serve *P2P) (ln net.Listener, c, s net.Conn) {
	t.Helper()
	ln, err := serve.Listen(t.Context(), web)
	if err == nil {
		c, err = dial.DialConn(t.Context(), serve.self, web)
	}
	if err == nil {
		s, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return ln, c, s
}

func TestConnIsANetConn(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		ln, c, s := connPair(t, dial, serve)
		if c.RemoteAddr().String() != serve.self.String() || s.RemoteAddr().String() != dial.self.String() ||
			c.RemoteAddr().Network() != "libp2p" || ln.Addr().String() != serve.self.String() {
			t.Error("wrong addresses")
		}
		// Deadlines.
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("deadline: %v", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		// Half-close.
		_, _ = c.Write([]byte("question"))
		if err := c.(*stream.Conn).CloseWrite(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(s); err != nil || string(got) != "question" {
			t.Errorf("got %q, %v", got, err)
		}
		_, _ = s.Write([]byte("answer"))
		_ = s.Close()
		if got, err := io.ReadAll(c); err != nil || string(got) != "answer" {
			t.Errorf("got %q, %v", got, err)
		}
		// Close.
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		_, err = c.Read(make([]byte, 1))
		wantErr(t, err, net.ErrClosed)
		_, err = c.Write([]byte("x"))
		wantErr(t, err, net.ErrClosed)
		wantErr(t, c.SetDeadline(time.Now()), net.ErrClosed)
		awaitCount(t, dial, 0)
		awaitCount(t, serve, 0)
	})
}

// Connections pass the checks that package net's own ones pass.
func TestConnPassesNettest(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		ln, err := serve.Listen(t.Context(), web)
		if err != nil {
			t.Fatal(err)
		}
		nettest.TestConn(t, func() (c, s net.Conn, stop func(), err error) {
			if c, err = dial.DialConn(t.Context(), serve.self, web); err != nil {
				return nil, nil, nil, err
			}
			if s, err = ln.Accept(); err != nil {
				return nil, nil, nil, err
			}
			return c, s, func() { _ = c.Close(); _ = s.Close() }, nil
		})
	})
}

// A Close with unread data of the peer stops the peer, and delivers what was
// written here.
func TestConnCloseStopsThePeer(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		_, c, s := connPair(t, dial, serve)
		_, _ = c.Write([]byte("last words"))
		_ = c.Close()
		_ = s.SetDeadline(time.Now().Add(deadline))
		if got, err := io.ReadAll(s); err != nil || string(got) != "last words" {
			t.Errorf("got %q, %v", got, err)
		}
		var err error
		for { // more than any window
			if _, err = s.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the peer goes on sending into nothing")
		}
		_ = s.Close()
	})
}

// Whoever closes last closes as well as the first one.
func TestConnCloseAfterThePeersClose(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		_, c, s := connPair(t, dial, serve)
		if err := s.Close(); err != nil {
			t.Errorf("the first: %v", err)
		}
		_ = c.SetDeadline(time.Now().Add(deadline))
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, network.ErrReset) {
			t.Error(err)
		}
		var err error
		for err == nil { // until the peer's word has arrived that it takes nothing
			_, err = c.Write(make([]byte, 64<<10))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the close was not noticed")
		}
		if err := c.Close(); err != nil {
			t.Errorf("the last: %v", err)
		}
	})
}

// Reads whose deadline passes while data arrives lose none of it, and no window
// update either: the stream goes on at full width.
func TestReadDeadlinesLoseNothing(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		_, c, s := connPair(t, dial, serve)
		data := bytes.Repeat([]byte("0123456789"), 400_000)
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			_ = c.SetWriteDeadline(time.Now().Add(deadline))
			if _, err := c.Write(data); err != nil {
				t.Errorf("write: %v", err)
			}
			_ = c.Close()
		})
		stop := make(chan struct{})
		defer close(stop)
		wg.Go(func() { // as net/http does to end a background read
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = s.SetReadDeadline(time.Unix(1, 0))
				_ = s.SetReadDeadline(time.Time{})
			}
		})
		var got []byte
		buf := make([]byte, 32<<10)
		end := time.Now().Add(deadline)
		for {
			n, err := s.Read(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
				t.Errorf("read: %v", err)
				break
			}
		}
		if !bytes.Equal(got, data) {
			t.Errorf("%d of %d bytes", len(got), len(data))
		}
		_ = s.Close()
	})
}

func TestListenBacklogAndClose(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		ln, err := serve.Listen(t.Context(), web, WithBacklog(1))
		if err != nil {
			t.Fatal(err)
		}
		_, err = serve.Listen(t.Context(), web)
		wantErr(t, err, ErrProtocolTaken)
		accepted, err := dial.DialConn(t.Context(), serve.self, web)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// Of two more, which may come in any order, one waits and one is too many.
		ended := make(chan error, 2)
		for range 2 {
			go func() {
				c, err := dial.DialConn(t.Context(), serve.self, web)
				if err == nil { // else the reset came first
					_ = c.SetDeadline(time.Now().Add(deadline))
					_, err = c.Read(make([]byte, 1))
					_ = c.Close()
				}
				ended <- err
			}()
		}
		wantErr(t, testkit.Receive(t, ended, "one to be refused"), ErrLimit)
		_ = ln.Close()
		if err := testkit.Receive(t, ended, "the other to be reset"); !errors.Is(err, network.ErrReset) || errors.Is(err, ErrLimit) {
			t.Errorf("nobody accepted: %v", err)
		}
		_, err = ln.Accept()
		wantErr(t, err, net.ErrClosed)
		wantErr(t, err, ErrClosed)
		// An accepted connection outlives its listener.
		_, _ = s.Write([]byte("x"))
		if _, err := io.ReadFull(accepted, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = s.Close()
		_ = accepted.Close()
	})
}

// Whoever is not accepted is told why: the listener has closed, before or after
// the stream came, or too many wait.
func TestListenTellsWhyItRefuses(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		l := &connListener{wait: make(chan waiting, 1)}
		put := make(chan struct{}, 1)
		group := serve.Streams.NewGroup(stream.Settings{Protocol: web})
		serve.host.SetStreamHandler(web, func(remote network.Stream) {
			s, _, err := group.Open(context.Background(), dial.self, stream.Inbound)
			if err != nil {
				t.Error(err)
				return
			}
			l.put(s, remote)
			put <- struct{}{}
		})
		open := func() network.Stream {
			s := openStream(t, dial.host, serve.self)
			if _, err := s.Write([]byte("x")); err != nil { // completes the negotiation
				t.Fatal(err)
			}
			testkit.Receive(t, put, "the stream to come")
			return s
		}
		wantCode := func(s network.Stream, want network.StreamErrorCode) {
			t.Helper()
			_, err := s.Read(make([]byte, 1))
			if se, ok := errors.AsType[*network.StreamError](err); !ok || !se.Remote || se.ErrorCode != want {
				t.Errorf("read: %v, want code %#x", err, want)
			}
		}
		queued, tooMany := open(), open()
		wantCode(tooMany, network.StreamResourceLimitExceeded)
		l.stopped()
		wantCode(queued, network.StreamShutdown)
		wantCode(open(), network.StreamShutdown)
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v", err)
		}
		awaitCount(t, serve, 0)
	})
}

func TestHTTPOverPeers(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		ln, err := serve.Listen(t.Context(), web)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, r.RemoteAddr+" ")
			_, _ = w.Write(body)
		})}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { _ = srv.Serve(ln) })
		defer srv.Close()
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial.DialConn(ctx, serve.self, web)
			},
		}}
		defer client.CloseIdleConnections()
		// Enough keep-alive requests for window updates to fall into the moment
		// in which net/http ends its background read.
		body := bytes.Repeat([]byte("b"), 20_000)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		for i := range 200 {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://peer/", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if want := dial.self.String() + " " + string(body); err != nil || string(got) != want {
				t.Fatalf("request %d: %d bytes, %v", i, len(got), err)
			}
		}
		if n := serve.Streams.Len(); n != 1 {
			t.Errorf("%d connections for keep-alive requests", n)
		}
	})
}
