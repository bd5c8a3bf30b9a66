package p2phost

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/autonat"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/identity"
	"github.com/go-nebnet/nebnet/internal/testkit"
)

func testHost(t *testing.T, change func(*Config)) host.Host {
	t.Helper()
	key, err := identity.Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Key: key, Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}}
	change(&c)
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// Each switch does its part, and nothing of it is done unless asked for. (AutoNAT is
// tried in network namespaces: it makes libp2p register metrics for the whole
// process.)
func TestReachIsOffUnlessAskedFor(t *testing.T) {
	all := []protocol.ID{autonat.AutoNATProto, autonatv2.DialProtocol, autonatv2.DialBackProtocol, proto.ProtoIDv2Hop, proto.ProtoIDv2Stop}
	for name, c := range map[string]struct {
		change func(*Config)
		want   []protocol.ID
	}{
		"nothing":       {func(*Config) {}, nil},
		"relay client":  {func(c *Config) { c.RelayClient = true }, []protocol.ID{proto.ProtoIDv2Stop}},
		"relay service": {func(c *Config) { c.RelayService = true }, []protocol.ID{proto.ProtoIDv2Hop, proto.ProtoIDv2Stop}},
	} {
		t.Run(name, func(t *testing.T) {
			h := testHost(t, c.change)
			testkit.Eventually(t, "the protocols", func() bool {
				return !slices.ContainsFunc(all, func(id protocol.ID) bool {
					return slices.Contains(h.Mux().Protocols(), id) != slices.Contains(c.want, id)
				})
			})
		})
	}
}

// A relay asks who may reserve, and may think about it; relays are not used before
// their time.
func TestRelays(t *testing.T) {
	asked := make(chan peer.ID)
	relay := testHost(t, func(c *Config) {
		c.RelayService = true
		c.RelayAllow = func(p peer.ID) bool {
			asked <- p
			return true
		}
	})
	info := peer.AddrInfo{ID: relay.ID(), Addrs: relay.Addrs()}
	from := make(chan struct{})
	hidden := testHost(t, func(c *Config) {
		c.RelayClient, c.Relays, c.RelaysFrom = true, []peer.AddrInfo{info}, from
	})
	testkit.Eventually(t, "a host that is private", func() bool { return slices.Contains(hidden.Mux().Protocols(), proto.ProtoIDv2Stop) })
	select {
	case p := <-asked:
		t.Errorf("%s asks before its time", p)
	default:
	}
	close(from)
	if p := testkit.Receive(t, asked, "a reservation"); p != hidden.ID() {
		t.Errorf("%s asks", p)
	}
	// Others may ask themselves.
	other := testHost(t, func(c *Config) { c.RelayClient = true })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := make(chan error, 1)
	go func() {
		_, err := client.Reserve(ctx, other, info)
		got <- err
	}()
	if p := testkit.Receive(t, asked, "another reservation"); p != other.ID() {
		t.Errorf("%s asks", p)
	}
	if err := testkit.Receive(t, got, "the answer"); err != nil {
		t.Error(err)
	}
}

// Relays are handed over when their time has come, as many as are wanted, and none
// when it does not come.
func TestRelaySource(t *testing.T) {
	three := []peer.AddrInfo{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	count := func(ch <-chan peer.AddrInfo) (n int) {
		for range ch {
			n++
		}
		return n
	}
	if n := count(relays(Config{Relays: three})(t.Context(), 2)); n != 2 {
		t.Errorf("%d relays at once, want 2", n)
	}
	from := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	waiting := relays(Config{Relays: three, RelaysFrom: from})(ctx, 9)
	cancel()
	if n := count(waiting); n != 0 {
		t.Errorf("%d relays before their time", n)
	}
	close(from)
	if n := count(relays(Config{Relays: three, RelaysFrom: from})(t.Context(), 9)); n != 3 {
		t.Errorf("%d relays, want 3", n)
	}
}

func TestRelayed(t *testing.T) {
	for text, want := range map[string]bool{
		"/ip4/5.0.0.1/tcp/1": false,
		"/ip4/5.0.0.1/tcp/1/p2p/12D3KooWAHpWw3ab4cdh1iUAjyJPuW23osuy6zJdvkMuPU4Sttxp/p2p-circuit": true,
	} {
		if got := Relayed(ma.StringCast(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
