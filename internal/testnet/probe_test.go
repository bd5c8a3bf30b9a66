package testnet

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// libp2p's own limits of time, which the probes run into.
const (
	upgradeTimeout     = 15 * time.Second
	negotiationTimeout = 10 * time.Second
)

// victim returns a net with a plain host, serving echo, on node 1.
func victim(t *testing.T, opts ...libp2p.Option) (*Net, host.Host) {
	n := New(1, WithLink(Link{Latency: testLatency}))
	h := n.Host(t, n.Node(1), opts...)
	serveEcho(h)
	return n, h
}

func TestSilentSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := victim(t)
		s, err := n.OpenSockets(t.Context(), Addr(n.Node(1)), 4, n.Node(2), n.Node(3))
		if err != nil || len(s) != 8 {
			t.Fatalf("%d sockets, %v", len(s), err)
		}
		defer s.Close()
		time.Sleep(upgradeTimeout - time.Second)
		if got := s.Alive(); got != 8 {
			t.Errorf("%d of 8 sockets alive before the timeout", got)
		}
		time.Sleep(2 * time.Second)
		if got := s.Alive(); got != 0 {
			t.Errorf("%d of 8 sockets alive after the timeout", got)
		}
	})
}

// TestSilentSocketsPerAddress runs into libp2p's limit of 8 connections an
// address: all sockets are accepted by the system, and most closed at once.
func TestSilentSocketsPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := victim(t)
		s, err := n.OpenSockets(t.Context(), Addr(n.Node(1)), 30, n.Node(2))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.Sleep(time.Second)
		if got := s.Alive(); got != 8 {
			t.Errorf("%d of 30 sockets alive", got)
		}
	})
}

func TestOpenSocketsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := victim(t)
		s, err := n.OpenSockets(t.Context(), netip.AddrPortFrom(n.Node(1), 1), 2, n.Node(2))
		if len(s) != 0 || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%d sockets, %v", len(s), err)
		}
	})
}

func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := victim(t)
		c, err := n.Dial(t.Context(), n.Node(2), Addr(n.Node(1)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		start := time.Now()
		sent, err := Drip(t.Context(), c, []byte("\x13/multistream/1.0.0\n"), 4*time.Second)
		if took := time.Since(start); sent != 3 || !errors.Is(err, syscall.ECONNRESET) || took != 16*time.Second {
			t.Errorf("%d bytes dripped in %v, %v", sent, took, err)
		}
		if !c.Ended() {
			t.Error("not ended after a reset")
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Drip(ctx, io.Discard, []byte("x"), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drip beyond its context: %v", err)
		}
		if sent, err := Drip(t.Context(), io.Discard, []byte("xyz"), time.Second); sent != 3 || err != nil {
			t.Errorf("%d bytes, %v", sent, err)
		}
	})
}

func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		mustWrite(t, b, "unread")
		b.Close()
		if a.Ended() {
			t.Error("ended before word of it arrived")
		}
		time.Sleep(testLatency)
		if !a.Ended() || !b.Ended() {
			t.Error("not ended")
		}
		wantRead(t, a, "unread", 0)
	})
}

func TestChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := victim(t)
		synctest.Wait() // all that a host starts runs
		before := runtime.NumGoroutine()
		if got := n.Churn(t.Context(), n.Node(2), Addr(n.Node(1)), 500); got != 500 {
			t.Errorf("%d rounds of 500", got)
		}
		time.Sleep(time.Minute)
		testkit.Goroutines(t, before)
		a := n.Host(t, n.Node(3))
		connect(t, a, h)
	})
}

func TestRawPeer(t *testing.T) {
	for _, kind := range []struct {
		name string
		cfg  RawPeerConfig
		opts []libp2p.Option
	}{
		{"tls", RawPeerConfig{}, nil},
		{"noise", RawPeerConfig{Noise: true}, nil},
		{"psk", RawPeerConfig{PSK: make([]byte, 32)}, []libp2p.Option{libp2p.PrivateNetwork(make([]byte, 32))}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, h := victim(t, kind.opts...)
				key, err := n.Key(n.Node(2))
				if err != nil {
					t.Fatal(err)
				}
				kind.cfg.Key = key
				p, err := n.DialRaw(t.Context(), n.Node(2), Info(h), kind.cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				time.Sleep(time.Second)
				if !p.LocalPeer().MatchesPrivateKey(key) || h.Network().Connectedness(p.LocalPeer()) != network.Connected {
					t.Error("the host does not see the peer")
				}
				s, err := p.Open(t.Context(), echoProtocol)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
					t.Error(err)
				}
				if _, err := p.Open(t.Context(), "/unknown"); err == nil {
					t.Error("an unknown protocol was agreed on")
				}
			})
		})
	}
}

func TestRawPeerFromManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := victim(t)
		key, err := n.Key(n.Node(2))
		if err != nil {
			t.Fatal(err)
		}
		for i := 2; i < 8; i++ {
			p, err := n.DialRaw(t.Context(), n.Node(i), Info(h), RawPeerConfig{Key: key})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
		}
		time.Sleep(time.Second)
		if got := len(h.Network().Conns()); got != 6 || len(h.Network().Peers()) != 1 {
			t.Errorf("%d connections of %d peers", got, len(h.Network().Peers()))
		}
	})
}

func TestMuteStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := victim(t)
		p, err := n.DialRaw(t.Context(), n.Node(2), Info(h), RawPeerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		streams, err := p.OpenMute(t.Context(), 50)
		if err != nil || len(streams) != 50 {
			t.Fatalf("%d streams, %v", len(streams), err)
		}
		inbound := func() (count int) {
			for _, c := range h.Network().ConnsToPeer(p.LocalPeer()) {
				count += c.Stat().NumStreams
			}
			return count
		}
		time.Sleep(negotiationTimeout / 2)
		if got := inbound(); got < 50 {
			t.Errorf("the host holds %d streams before the timeout", got)
		}
		time.Sleep(negotiationTimeout)
		if got := inbound(); got > 5 {
			t.Errorf("the host holds %d streams after the timeout", got)
		}
	})
}

func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := victim(t)
		stuck := make(chan struct{})
		defer close(stuck)
		h.SetStreamHandler("/stuck", func(s network.Stream) { <-stuck; s.Reset() })
		p, err := n.DialRaw(t.Context(), n.Node(2), Info(h), RawPeerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		streams, err := p.Flood(t.Context(), "/stuck", 10_000)
		if len(streams) < 10 || err == nil { // libp2p's limits end it
			t.Errorf("%d streams, %v", len(streams), err)
		}
	})
}

func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, h := victim(t)
		p, err := n.DialRaw(t.Context(), n.Node(2), Info(h), RawPeerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait() // all that a host starts runs
		before := runtime.NumGoroutine()
		if got, err := p.Storm(t.Context(), echoProtocol, 2000); got != 2000 || err != nil {
			t.Errorf("%d rounds, %v", got, err)
		}
		time.Sleep(time.Minute)
		testkit.Goroutines(t, before)
		p.Close()
		if got, err := p.Storm(t.Context(), echoProtocol, 1); got != 0 || err == nil {
			t.Errorf("storm over a closed connection: %d, %v", got, err)
		}
	})
}
