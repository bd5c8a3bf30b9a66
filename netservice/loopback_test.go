package netservice_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/netservice"
)

// start starts a service on real loopback sockets.
func start(t *testing.T, cfg netservice.Config, opts ...netservice.Option) *netservice.NebService {
	t.Helper()
	s, err := netservice.NewNebService(cfg, append(opts, quiet())...)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// exchangeOne sends a message each way.
func exchangeOne(t *testing.T, a, b *netservice.NebService) {
	t.Helper()
	ctx := deadline(t)
	inA, inB := inbox(t, a, 1), inbox(t, b, 1)
	if err := a.ConnectPeer(ctx, b.Node().Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitForPeers(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := text.Send(ctx, a, b.Node().ID(), []byte("ping")); err != nil {
		t.Fatal(err)
	}
	if err := text.Send(ctx, b, a.Node().ID(), []byte("pong")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, "message", inB); string(got.Value) != "ping" {
		t.Errorf("got %q", got.Value)
	}
	if got := next(t, "message", inA); string(got.Value) != "pong" {
		t.Errorf("got %q", got.Value)
	}
}

func TestLoopback(t *testing.T) {
	psk := filepath.Join(t.TempDir(), "psk")
	if err := os.WriteFile(psk, []byte("/key/swarm/psk/1.0.0/\n/base16/\n"+strings.Repeat("0f", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]netservice.Config{
		"tcp":             {Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
		"quic":            {Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}},
		"private network": {Listen: []string{"/ip4/127.0.0.1/tcp/0"}, PSKFile: psk},
		"key file":        {Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DataDir: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.ChainID = "test"
			a := start(t, cfg)
			if cfg.DataDir != "" {
				if _, err := os.Stat(filepath.Join(cfg.DataDir, "node.key")); err != nil {
					t.Error(err)
				}
				cfg.DataDir = t.TempDir()
			}
			exchangeOne(t, a, start(t, cfg))
		})
	}
}

// Nodes with and without the key of a private network do not connect.
func TestPrivateNetworkKeepsOthersOut(t *testing.T) {
	psk := filepath.Join(t.TempDir(), "psk")
	if err := os.WriteFile(psk, []byte("/key/swarm/psk/1.0.0/\n/base16/\n"+strings.Repeat("0f", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}}
	outside := start(t, cfg)
	cfg.PSKFile = psk
	inside := start(t, cfg)
	if err := outside.ConnectPeer(deadline(t), inside.Node().Addrs()[0].String()); err == nil {
		t.Error("connected")
	}
	cfg.PSKFile = filepath.Join(t.TempDir(), "none")
	if _, err := netservice.NewNebService(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
}

// A port in use makes Start fail with the address in the error, whoever has
// it, and leaves nothing behind.
func TestPortInUse(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_, tcpPort, _ := net.SplitHostPort(tcp.Addr().String())
	_, udpPort, _ := net.SplitHostPort(udp.LocalAddr().String())
	taken := []string{"/ip4/127.0.0.1/tcp/" + tcpPort, "/ip4/127.0.0.1/udp/" + udpPort + "/quic-v1"}
	s, err := netservice.NewNebService(netservice.Config{ChainID: "test", Listen: append(taken, "/ip4/127.0.0.1/tcp/0")}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Start()
	if _, ok := errors.AsType[*netservice.ListenError](err); !ok {
		t.Fatalf("start: %v", err)
	}
	for _, a := range taken {
		if !strings.Contains(err.Error(), a) {
			t.Errorf("the error does not name %s: %v", a, err)
		}
	}
	if err := s.Stop(); err != nil {
		t.Errorf("stop after a failed start: %v", err)
	}
	if err := s.Start(); !errors.Is(err, netservice.ErrStopped) {
		t.Errorf("start after a failed start: %v", err)
	}
}

// A service on a host of the program's own leaves that host, and its
// connections to others, alone.
func TestInjectedHost(t *testing.T) {
	newHost := func() host.Host {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}
	own, stranger := newHost(), newHost()
	if err := own.Connect(deadline(t), *host.InfoFromHost(stranger)); err != nil {
		t.Fatal(err)
	}
	cfg := netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, HandshakeTimeout: netservice.Duration(200 * time.Millisecond)}
	a, err := netservice.NewNebService(cfg, quiet(), netservice.WithHost(own))
	if err != nil {
		t.Fatal(err)
	}
	refused := a.SubscribePeers(netservice.PeerRefused)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	if a.Node().ID() != own.ID() || a.Node().Host() != own {
		t.Error("another host is used")
	}
	cfg.HandshakeTimeout = 0
	b := start(t, cfg)
	exchangeOne(t, a, b)
	if e := event(t, refused, netservice.PeerRefused); e.Peer != stranger.ID() || e.Reason != netservice.ReasonNotNebnet {
		t.Errorf("event: %+v", e)
	}
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	if len(own.Network().ConnsToPeer(stranger.ID())) == 0 {
		t.Error("the program's own connection was closed")
	}
	if len(own.Addrs()) == 0 {
		t.Error("the program's own host was closed")
	}
}

func TestKeyFileErrors(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "node.key")
	cfg := netservice.Config{ChainID: "test", DataDir: dir}
	if err := os.WriteFile(key, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := netservice.NewNebService(cfg); !errors.Is(err, netservice.ErrKeyCorrupt) || !strings.Contains(err.Error(), key) {
		t.Errorf("corrupt: %v", err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := netservice.NewNebService(cfg); !errors.Is(err, netservice.ErrKeyPermissions) {
		t.Errorf("readable by all: %v", err)
	}
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(key+".away", key); err != nil {
		t.Fatal(err)
	}
	if _, err := netservice.NewNebService(cfg); !errors.Is(err, netservice.ErrKeySymlink) {
		t.Errorf("symlink: %v", err)
	}
}

// A key file that others may read, and one behind a link, are taken when the
// program says so, and are the same node; a damaged one never is.
func TestInsecureKeyIsTaken(t *testing.T) {
	cfg := netservice.Config{ChainID: "test", DataDir: t.TempDir()}
	key := filepath.Join(cfg.DataDir, "node.key")
	s, err := netservice.NewNebService(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.InsecureKey = true
	for name, do := range map[string]func() error{
		"readable by all": func() error { return os.Chmod(key, 0o644) },
		"symlink":         func() error { return errors.Join(os.Rename(key, key+".away"), os.Symlink(key+".away", key)) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		again, err := netservice.NewNebService(cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if again.Node().ID() != s.Node().ID() {
			t.Errorf("%s: another node", name)
		}
	}
	if err := os.WriteFile(key, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := netservice.NewNebService(cfg); !errors.Is(err, netservice.ErrKeyCorrupt) {
		t.Errorf("corrupt: %v", err)
	}
}
