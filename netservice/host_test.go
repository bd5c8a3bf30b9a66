package netservice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// Where both hosts are the programs' own, the connection outlives the session.
// Either side can then make another session on it.
func TestInjectedHostsReconnect(t *testing.T) {
	ha, hb := testkit.Host(t), testkit.Host(t)
	a := start(t, netservice.Config{ChainID: "test"}, netservice.WithHost(ha))
	b := start(t, netservice.Config{ChainID: "test"}, netservice.WithHost(hb))
	ctx := deadline(t)
	if err := a.ConnectPeer(ctx, testkit.FullAddr(t, hb)); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitForPeers(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*netservice.NebService{a, b} {
		other, addr := b, testkit.FullAddr(t, hb)
		if s == b {
			other, addr = a, testkit.FullAddr(t, ha)
		}
		gone, goneToo := s.SubscribePeers(netservice.PeerDisconnected), other.SubscribePeers(netservice.PeerDisconnected)
		if err := s.ClosePeer(other.Node().ID().String(), netservice.ReasonRequested); err != nil {
			t.Fatal(err)
		}
		event(t, gone, netservice.PeerDisconnected)
		event(t, goneToo, netservice.PeerDisconnected)
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := s.ConnectPeer(short, addr)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if err := other.WaitForPeers(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// A host carries one service, and not beside a pubsub of the program's own: the
// second would take the first one's streams. After Stop it can carry another.
func TestHostIsTaken(t *testing.T) {
	h := testkit.Host(t)
	cfg := netservice.Config{ChainID: "test"}
	first := start(t, cfg, netservice.WithHost(h))
	for _, chainID := range []string{"test", "another"} {
		second, err := netservice.NewNebService(netservice.Config{ChainID: chainID}, quiet(), netservice.WithHost(h))
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Start(); !errors.Is(err, netservice.ErrHostTaken) {
			t.Errorf("a second service, of chain %s: %v", chainID, err)
			second.Stop()
		}
	}
	other := start(t, netservice.Config{ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	exchangeOne(t, first, other) // it still works
	if err := first.Stop(); err != nil {
		t.Error(err)
	}
	start(t, cfg, netservice.WithHost(h))

	h = testkit.Host(t)
	if _, err := pubsub.NewGossipSub(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	s, err := netservice.NewNebService(cfg, quiet(), netservice.WithHost(h))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); !errors.Is(err, netservice.ErrHostTaken) {
		t.Errorf("beside a pubsub: %v", err)
		s.Stop()
	}
}

// ConnectPeer returns although its context has no end and nobody says hello.
func TestConnectPeerIsBounded(t *testing.T) {
	h := testkit.Host(t)
	s := start(t, netservice.Config{
		ChainID: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"},
		HandshakeTimeout: netservice.Duration(300 * time.Millisecond),
	})
	if err := h.Connect(deadline(t), *host.InfoFromHost(s.Node().Host())); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.ConnectPeer(context.Background(), testkit.FullAddr(t, h)) }()
	select {
	case err := <-done:
		if !errors.Is(err, netservice.ReasonTimeout) && !errors.Is(err, netservice.ReasonNotNebnet) {
			t.Errorf("connect: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("connect does not return")
		s.Stop()
	}
}
