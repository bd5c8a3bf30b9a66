package p2p

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// entering tells when a write to the stream begins.
type entering struct {
	network.Stream
	once    sync.Once
	entered chan struct{}
}

func (e *entering) Write(p []byte) (int, error) {
	e.once.Do(func() { close(e.entered) })
	return e.Stream.Write(p)
}

// openAsTunnel opens a raw stream as tunnels do.
func openAsTunnel(t *testing.T, p *P2P, to peer.ID) network.Stream {
	t.Helper()
	d, err := p.dialSpec(t.Context(), nil, to, web, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, ready, err := p.open(t.Context(), d)
	if err == nil && ready != nil {
		err = ready()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A Write that waits for the peer ends with CloseWrite and with Close. It is
// larger than all windows, and nobody reads: it cannot end by itself.
func TestConnCloseEndsABlockedWrite(t *testing.T) {
	const size = 64 << 20
	for name, end := range map[string]func(*stream.Conn) error{
		"close": (*stream.Conn).Close, "close-write": (*stream.Conn).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, dial, serve *P2P) {
				if _, err := serve.Listen(t.Context(), web); err != nil { // nobody accepts, nobody reads
					t.Fatal(err)
				}
				s, _, err := dial.Streams.NewGroup(stream.Settings{Protocol: web}).Open(t.Context(), serve.self, stream.Outbound)
				if err != nil {
					t.Fatal(err)
				}
				raw := &entering{Stream: openAsTunnel(t, dial, serve.self), entered: make(chan struct{})}
				c, err := s.Conn(raw)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				type result struct {
					n   int
					err error
				}
				wrote := make(chan result, 1)
				go func() {
					n, err := c.Write(make([]byte, size))
					wrote <- result{n, err}
				}()
				testkit.Receive(t, raw.entered, "the write to begin")
				_ = end(c)
				got := testkit.Receive(t, wrote, "the write to end")
				if wantErr(t, got.err, net.ErrClosed); got.n >= size {
					t.Errorf("%d bytes were taken", got.n)
				}
				if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a later write: %v", err)
				}
			})
		})
	}
}

// The context ends the streams of a listener that was closed before, too.
func TestContextEndsStreamsOfAClosedListener(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		l, err := dial.Dial(ctx, nil, serve.self, web, testkit.Addr(t, loopback))
		if err != nil {
			t.Fatal(err)
		}
		c := connectInfo(t, l)
		mustEcho(t, c, "before")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		mustEcho(t, c, "after")
		cancel()
		wantReset(t, c)
		awaitEmpty(t, dial, serve)
	})
}

// The context ends what Listen made: an Accept that waits, connections that
// were accepted, those that wait for Accept, and the protocol.
func TestContextEndsListen(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ln, err := serve.Listen(ctx, web)
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan error, 2)
		go func() {
			for {
				_, err := ln.Accept()
				if accepted <- err; err != nil {
					return
				}
			}
		}()
		c, err := dial.DialConn(t.Context(), serve.self, web)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(deadline))
		if err := testkit.Receive(t, accepted, "a connection"); err != nil {
			t.Fatal(err)
		}
		cancel()
		wantErr(t, testkit.Receive(t, accepted, "Accept to end"), net.ErrClosed)
		_, err = c.Read(make([]byte, 1))
		wantErr(t, err, network.ErrReset)
		awaitCount(t, serve, 0)
		if serve.CheckProtoExists(web) || len(serve.Listeners.List()) != 0 {
			t.Error("still served")
		}
		if err := ln.Close(); err != nil { // once more does nothing
			t.Error(err)
		}
		if _, err := serve.Listen(ctx, web); !errors.Is(err, context.Canceled) {
			t.Errorf("Listen under a context that has ended: %v", err)
		}
		again, err := serve.Listen(t.Context(), web)
		if err != nil {
			t.Fatalf("the protocol is still taken: %v", err)
		}
		_ = again.Close()
	})
}

// Connections that nobody has accepted yet end with the context, too.
func TestContextEndsTheBacklog(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := serve.Listen(ctx, web); err != nil {
			t.Fatal(err)
		}
		c, err := dial.DialConn(t.Context(), serve.self, web)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(deadline))
		cancel()
		_, err = c.Read(make([]byte, 1))
		wantErr(t, err, network.ErrReset)
		awaitCount(t, serve, 0)
	})
}

// Those who wait for a hanging dial hold up nobody with a connection.
func TestSlotsAreTakenAfterTheDial(t *testing.T) {
	sl := newOpenings()
	for range negotiating {
		if _, err := sl.enter(t.Context(), "peer"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sl.enter(ctx, "peer"); !errors.Is(err, context.Canceled) {
		t.Errorf("one more: %v", err)
	}
	if leave, err := sl.enter(t.Context(), "other"); err != nil {
		t.Error(err)
	} else {
		leave()
	}
	// A dial waits for none of them, and takes none when it fails.
	dial := newTunnels(t, newHost(t, transports[0]))
	d := dialSpec{peer: dial.self, proto: web, set: settings{dialTimeout: time.Second}}
	if _, _, err := dial.open(t.Context(), d); !errors.Is(err, ErrUnreachable) {
		t.Errorf("dial to itself: %v", err)
	}
	if n := len(dial.openings.toPeer); n != 0 {
		t.Errorf("%d peers have streams being opened", n)
	}
	for range negotiating {
		if _, err := dial.openings.enter(t.Context(), dial.self); err != nil {
			t.Fatal(err)
		}
	}
	limited, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := dial.open(limited, d); !errors.Is(err, ErrUnreachable) {
		t.Errorf("dial to itself while all places are taken: %v", err)
	}
}

// Apply leaves the streams of a listed tunnel alone whose listener was closed by
// hand.
func TestApplyLeavesStreamsAlone(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
			t.Fatal(err)
		}
		tunnels := []Tunnel{{Protocol: web, Bind: loopback, Peer: serve.self.String()}}
		if err := dial.Apply(t.Context(), tunnels); err != nil {
			t.Fatal(err)
		}
		l := dial.Listeners.List()[0]
		c := connectInfo(t, &l)
		mustEcho(t, c, "before")
		dial.Listeners.Close(listener.All())
		if err := dial.Apply(t.Context(), tunnels); err != nil {
			t.Fatal(err)
		}
		mustEcho(t, c, "after")
	})
}
