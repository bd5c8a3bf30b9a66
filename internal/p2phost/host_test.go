package p2phost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/internal/identity"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

func TestMain(m *testing.M) {
	if network := os.Getenv(occupyEnv); network != "" {
		occupy(network)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// config returns a configuration that listens on free loopback ports.
func config(t testing.TB, listen ...string) p2phost.Config {
	t.Helper()
	key, err := identity.Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	c := p2phost.Config{Key: key}
	for _, l := range listen {
		c.Listen = append(c.Listen, testkit.Addr(t, l))
	}
	return c
}

func start(t testing.TB, c p2phost.Config) host.Host {
	t.Helper()
	h, err := p2phost.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const (
	tcp0  = "/ip4/127.0.0.1/tcp/0"
	quic0 = "/ip4/127.0.0.1/udp/0/quic-v1"
)

// echo serves one protocol that returns what it reads.
func echo(h host.Host) {
	h.SetStreamHandler("/echo/1", func(s network.Stream) {
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})
}

func ask(ctx context.Context, from host.Host, to peer.ID, text string) error {
	s, err := from.NewStream(ctx, to, "/echo/1")
	if err != nil {
		return err
	}
	defer s.Reset()
	deadline, _ := ctx.Deadline()
	_ = s.SetDeadline(deadline)
	if _, err := io.WriteString(s, text); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(s)
	if err == nil && string(got) != text {
		err = fmt.Errorf("echo returned %q, want %q", got, text)
	}
	return err
}

func TestTransportsAndSecurity(t *testing.T) {
	plain := func(t *testing.T, opts ...libp2p.Option) host.Host {
		h, err := libp2p.New(append([]libp2p.Option{libp2p.NoListenAddrs, noMetrics}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}
	ours := func(t *testing.T, _ ...libp2p.Option) host.Host { return start(t, config(t)) }
	for _, tc := range []struct {
		name, listen string
		dialer       func(*testing.T, ...libp2p.Option) host.Host
		opt          libp2p.Option
		security     string
		muxer        string
	}{
		{"tcp ours", tcp0, ours, nil, libp2ptls.ID, "/yamux/1.0.0"},
		{"tcp tls", tcp0, plain, libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2ptls.ID, "/yamux/1.0.0"},
		{"tcp noise", tcp0, plain, libp2p.Security(noise.ID, noise.New), noise.ID, "/yamux/1.0.0"},
		{"tcp default", tcp0, plain, nil, libp2ptls.ID, "/yamux/1.0.0"},
		{"quic ours", quic0, ours, nil, "", ""},
		{"quic default", quic0, plain, nil, "", ""},
		{"tcp6", "/ip6/::1/tcp/0", ours, nil, libp2ptls.ID, "/yamux/1.0.0"},
		{"quic6", "/ip6/::1/udp/0/quic-v1", ours, nil, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := start(t, config(t, tc.listen))
			echo(server)
			client := tc.dialer(t, tc.opt)
			ctx := within(t)
			if err := client.Connect(ctx, peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}); err != nil {
				t.Fatal(err)
			}
			st := client.Network().ConnsToPeer(server.ID())[0].ConnState()
			if string(st.Security) != tc.security || string(st.StreamMultiplexer) != tc.muxer {
				t.Errorf("security %q, muxer %q; want %q, %q", st.Security, st.StreamMultiplexer, tc.security, tc.muxer)
			}
			if err := ask(ctx, client, server.ID(), "hello"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	tcpLn, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcpLn.Close()
	udpLn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udpLn.Close()
	tcpAddr := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", tcpLn.Addr().(*net.TCPAddr).Port)
	udpAddr := fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", udpLn.LocalAddr().(*net.UDPAddr).Port)

	// One good address among the bad ones: nothing of it may stay open.
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	good := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)

	before := goleak.IgnoreCurrent()
	_, err = p2phost.New(config(t, good, tcpAddr, udpAddr, quic0))
	if err == nil {
		t.Fatal("no error")
	}
	goleak.VerifyNone(t, before)
	var failed []string
	for _, e := range flatten(err) {
		var le *p2phost.ListenError
		if errors.As(e, &le) {
			failed = append(failed, le.Addr.String())
		}
	}
	if fmt.Sprint(failed) != fmt.Sprint([]string{tcpAddr, udpAddr}) {
		t.Errorf("addresses named: %v", failed)
	}
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), tcpAddr) {
		t.Errorf("error: %v", err)
	}
	again, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("the good address stayed in use: %v", err)
	}
	again.Close()
}

func flatten(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range j.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}

func TestPortInUseByOwnHost(t *testing.T) {
	for _, l := range []string{tcp0, quic0} {
		first := start(t, config(t, l))
		taken := first.Network().ListenAddresses()[0]
		_, err := p2phost.New(config(t, taken.String()))
		var le *p2phost.ListenError
		if !errors.As(err, &le) || !le.Addr.Equal(taken) {
			t.Errorf("%s: error %v does not name it", taken, err)
		}
	}
}
