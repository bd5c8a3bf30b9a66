package netservice_test

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// carrier is the transport of the session with a peer, empty without one.
func carrier(s *netservice.NebService, p peer.ID) string {
	for _, info := range s.Peers() {
		if info.ID == p {
			return info.Transport
		}
	}
	return ""
}

// behindRelay starts a relay and a service that asks to be reached through it. (A
// relay tells of public addresses only, so that none of this machine shows.)
func behindRelay(t *testing.T) (relay, hidden *netservice.NebService, addr string) {
	t.Helper()
	relay = looped(t, func(c *netservice.Config) { c.Reachability.RelayService = true })
	at := relay.Node().Addrs()[0].String()
	hidden = looped(t, func(c *netservice.Config) {
		c.Bootstrap = []string{at}
		c.Reachability.RelayClient, c.Reachability.Relays = true, []string{at}
	})
	return relay, hidden, at + "/p2p-circuit/p2p/" + hidden.Node().ID().String()
}

// A session through a relay carries messages, and moves to a direct connection as
// soon as there is one, whoever makes it. No peer is without a session meanwhile,
// and the connection through the relay is closed.
func TestRelayedSessionMoves(t *testing.T) {
	for _, dials := range []string{"the same side dials", "the other side dials"} {
		t.Run(dials, func(t *testing.T) {
			relay, hidden, addr := behindRelay(t)
			testkit.Equal(t, "the relay is", "public", func() string { return relay.Stats().Reachability.State })
			testkit.Equal(t, "who is behind it is", "private", func() string { return hidden.Stats().Reachability.State })
			other := looped(t, func(c *netservice.Config) { c.Reachability.RelayClient = true })
			got := inbox(t, hidden, 8)
			testkit.Eventually(t, "a session through the relay", func() bool { return other.ConnectPeer(t.Context(), addr) == nil })
			id := hidden.Node().ID()
			if how := carrier(other, id); how != "relay" {
				t.Fatalf("connected by %q", how)
			}
			send := func(what string) {
				t.Helper()
				// The hidden node began to take the type a moment ago.
				testkit.Eventually(t, "taken", func() bool { return text.Send(t.Context(), other, id, []byte(what)) == nil })
				if m := next(t, "message", got); string(m.Value) != what {
					t.Errorf("heard %q, want %q", m.Value, what)
				}
			}
			send("through the relay")

			from, to := other, hidden
			if dials == "the other side dials" {
				from, to = to, from
			}
			direct := peer.AddrInfo{ID: to.Node().ID(), Addrs: to.Node().Host().Network().ListenAddresses()}
			events := other.SubscribePeers()
			defer events.Close()
			if err := from.Node().Host().Connect(network.WithForceDirectDial(t.Context(), "test"), direct); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*netservice.NebService{other, hidden} {
				p := id
				if s == hidden {
					p = other.Node().ID()
				}
				testkit.Equal(t, "transport", "tcp", func() string { return carrier(s, p) })
				testkit.Equal(t, "connections", 1, func() int { return len(s.Node().Host().Network().ConnsToPeer(p)) })
			}
			send("directly")
			for _, want := range []netservice.PeerEventKind{netservice.PeerDisconnected, netservice.PeerConnected} {
				e := next(t, "event", events.Events())
				for e.Peer == relay.Node().ID() { // it is a peer, too, whose session may come later
					e = next(t, "event", events.Events())
				}
				if e.Kind != want || e.Peer != id || want == netservice.PeerDisconnected && e.Reason != netservice.ReasonReplaced {
					t.Errorf("event %v of %s for %v, want %v", e.Kind, e.Peer, e.Reason, want)
				}
			}
		})
	}
}

// A relay serves its session peers only, and a node without RelayClient dials
// nobody through one.
func TestRelayServesPeersOnly(t *testing.T) {
	relay, hidden, addr := behindRelay(t)
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.EnableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	at := peer.AddrInfo{ID: relay.Node().ID(), Addrs: []ma.Multiaddr{relay.Node().Host().Addrs()[0]}}
	if _, err := client.Reserve(ctx, h, at); err == nil {
		t.Error("a stranger has a reservation")
	}
	direct, through := looped(t, func(*netservice.Config) {}), looped(t, func(c *netservice.Config) { c.Reachability.RelayClient = true })
	testkit.Eventually(t, "a session through the relay", func() bool { return through.ConnectPeer(ctx, addr) == nil })
	if err := direct.ConnectPeer(ctx, addr); err == nil || carrier(direct, hidden.Node().ID()) != "" {
		t.Errorf("dialled through a relay without RelayClient: %v", err)
	}
}
