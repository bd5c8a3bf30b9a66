package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// count reads a counter of a service.
func count(s *netservice.NebService, name string) int64 {
	if c, ok := s.Metrics().Get(name).(metrics.Counter); ok {
		return c.Count()
	}
	return 0
}

// Every reason to refuse has its code, and both sides count it.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		reason netservice.DisconnectReason
		other  func(c *netservice.Config)
		opts   []netservice.Option // of the one that is dialled
	}{
		{netservice.ReasonWrongChain, func(c *netservice.Config) { c.ChainID = "other" }, nil},
		{netservice.ReasonWrongGenesis, func(c *netservice.Config) { c.Genesis = "02" }, nil},
		{netservice.ReasonWrongVersion, func(c *netservice.Config) { c.MinVersion, c.MaxVersion = 2, 3 }, nil},
		{netservice.ReasonApplication, func(*netservice.Config) {}, []netservice.Option{
			netservice.WithPeerCheck(func(context.Context, netservice.PeerHello) error { return errors.New("no") })}},
		{netservice.ReasonApplication, func(*netservice.Config) {}, []netservice.Option{
			netservice.WithPeerCheck(func(context.Context, netservice.PeerHello) error { panic("no") })}},
		{netservice.ReasonBanned, func(*netservice.Config) {}, []netservice.Option{
			netservice.WithPeerCheck(func(context.Context, netservice.PeerHello) error { return netservice.ReasonBanned })}},
	} {
		t.Run(tc.reason.Label(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a := nw.Add(chain(), append(tc.opts, quiet())...)
				cfg := chain()
				tc.other(&cfg)
				b := nw.Add(cfg, quiet())
				refused := b.Service().SubscribePeers(netservice.PeerRefused)
				nw.Start()
				err := b.Service().ConnectPeer(t.Context(), a.Addr())
				if re, ok := errors.AsType[*netservice.RefusedError](err); !ok || !errors.Is(err, tc.reason) {
					t.Fatalf("connect: %v", err)
				} else if tc.opts != nil && !re.ByRemote {
					t.Errorf("the refusal is not said to be the peer's: %v", err)
				}
				if e := event(t, refused, netservice.PeerRefused); e.Reason != tc.reason || e.Peer != a.ID() {
					t.Errorf("event: %+v", e)
				}
				time.Sleep(3 * time.Second)
				for who, s := range map[string]*netservice.NebService{"dialled": a.Service(), "dialler": b.Service()} {
					n := count(s, "neb.net.handshake.refused."+tc.reason.Label()) + count(s, "neb.net.handshake.refused_by_peer."+tc.reason.Label())
					if n != 1 {
						t.Errorf("%s counts %d refusals", who, n)
					}
					if c := s.Node().Host().Network().Conns(); len(c) != 0 {
						t.Errorf("%s keeps %v", who, c)
					}
				}
			})
		})
	}
}

// A peer of another chain is remembered and not redialled soon, even when it
// is a boot node, and is kept in nobody's address book.
func TestWrongChainIsNotRedialledSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		other := chain()
		other.ChainID = "other"
		a := nw.Add(other, quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		time.Sleep(2 * time.Minute)
		n := count(b.Service(), "neb.net.handshake.refused.wrong_chain") + count(b.Service(), "neb.net.handshake.refused_by_peer.wrong_chain")
		if n != 1 {
			t.Errorf("tried %d times in two minutes", n)
		}
		if addrs := a.Service().Node().Host().Peerstore().Addrs(b.ID()); len(addrs) != 0 {
			t.Errorf("the dialled node remembers %v", addrs)
		}
	})
}

func TestSelfDial(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		nw.Start()
		if err := a.Service().ConnectPeer(t.Context(), a.Addr()); !errors.Is(err, netservice.ReasonSelf) {
			t.Errorf("connect to self: %v", err)
		}
	})
}

func TestTooManyPeers(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.MaxPeers, cfg.InboundShare = 2, 1
		hub := nw.Add(cfg, quiet())
		var friend *nettest.Node
		for range 3 {
			nw.Add(chain(), quiet())
		}
		friend = nw.Nodes()[3]
		nw.Start()
		for _, n := range nw.Nodes()[1:3] {
			if err := n.Service().ConnectPeer(t.Context(), hub.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		if err := friend.Service().ConnectPeer(t.Context(), hub.Addr()); !errors.Is(err, netservice.ReasonTooManyPeers) {
			t.Fatalf("third peer: %v", err)
		}
		if n := len(hub.Service().Peers()); n != 2 {
			t.Errorf("%d peers", n)
		}
		// A reserved peer is admitted above the maximum.
		hub.Stop()
		nw2 := nettest.New(t, nettest.WithSeed(2))
		friend = nw2.Add(chain(), quiet())
		cfg.Reserved = []string{friend.Addr()}
		cfg.MaxPeers = 1
		hub = nw2.Add(cfg, quiet())
		stranger := nw2.Add(booted(hub), quiet())
		hub.Start()
		stranger.Start()
		hub.WaitForPeers(1)
		friend.Start()
		hub.WaitForPeers(2)
		if p := hub.Service().Peers()[1]; p.ID != friend.ID() || !p.Reserved {
			t.Errorf("peers: %+v", hub.Service().Peers())
		}
	})
}

// When two nodes dial each other at the same moment, they end with one session
// and one connection, whatever the latencies.
func TestSimultaneousDial(t *testing.T) {
	for _, ms := range []int{0, 1, 10, 300} {
		t.Run(fmt.Sprint(ms, "ms"), func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a := nw.Add(chain(), quiet())
				b := nw.Add(chain(), quiet())
				nw.SetLink(func(from, _ *nettest.Node) nettest.Link {
					if from == a {
						return nettest.Link{Latency: 10 * time.Millisecond}
					}
					return nettest.Link{Latency: time.Duration(ms) * time.Millisecond}
				})
				evA, evB := a.Service().SubscribePeers(), b.Service().SubscribePeers()
				nw.Start()
				errs := make(chan error, 2)
				go func() { errs <- a.Service().ConnectPeer(t.Context(), b.Addr()) }()
				go func() { errs <- b.Service().ConnectPeer(t.Context(), a.Addr()) }()
				for range 2 {
					if err := next(t, "outcome", errs); err != nil {
						t.Errorf("connect: %v", err)
					}
				}
				time.Sleep(30 * time.Second)
				for _, n := range []*nettest.Node{a, b} {
					if p := n.Service().Peers(); len(p) != 1 {
						t.Errorf("%d sessions", len(p))
					}
					if c := n.Service().Node().Host().Network().Conns(); len(c) != 1 {
						t.Errorf("connections: %v", c)
					}
				}
				if len(evA.Events()) != 1 || len(evB.Events()) != 1 {
					t.Errorf("%d and %d events", len(evA.Events()), len(evB.Events()))
				}
				in := inbox(t, b.Service(), 1)
				time.Sleep(10 * time.Second)
				if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("x")); err != nil {
					t.Fatal(err)
				}
				next(t, "message", in)
			})
		})
	}
}

// A peer whose cable was pulled is noticed within ten seconds, and found again
// after the heal.
func TestDeadPeerIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		a.WaitForPeers(1)
		b.WaitForPeers(1)
		time.Sleep(30 * time.Second)
		evA, evB := a.Service().SubscribePeers(), b.Service().SubscribePeers()
		nw.Isolate(a)
		begin := time.Now()
		for who, ev := range map[string]*netservice.PeerSubscription{"a": evA, "b": evB} {
			if e := event(t, ev, netservice.PeerDisconnected); e.Reason != netservice.ReasonPingTimeout || e.ByRemote {
				t.Errorf("%s: %+v", who, e)
			}
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("noticed after %s", d)
		}
		time.Sleep(time.Minute)
		nw.Heal()
		begin = time.Now()
		event(t, evA, netservice.PeerConnected)
		t.Logf("reconnected %s after the heal", time.Since(begin))
	})
}

// One direction that carries nothing makes a dead peer too.
func TestOneWayCutIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		a.WaitForPeers(1)
		b.WaitForPeers(1)
		ev := a.Service().SubscribePeers()
		nw.Cut(b, a)
		begin := time.Now()
		event(t, ev, netservice.PeerDisconnected)
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("noticed after %s", d)
		}
	})
}

// A boot node that is killed, or loses power, and comes back is a peer again
// by itself, also for a peer that has not noticed that it was gone.
func TestRestart(t *testing.T) {
	for name, die := range map[string]func(*nettest.Node){
		"stop": (*nettest.Node).Stop, "kill": (*nettest.Node).Kill, "crash": (*nettest.Node).Crash,
	} {
		for _, down := range []time.Duration{0, 5 * time.Second, 5 * time.Minute} {
			t.Run(fmt.Sprint(name, " ", down), func(t *testing.T) {
				inBubble(t, func(t *testing.T, nw *nettest.Network) {
					a := nw.Add(chain(), quiet())
					b := nw.Add(booted(a), quiet())
					nw.Start()
					a.WaitForPeers(1)
					b.WaitForPeers(1)
					time.Sleep(20 * time.Second)
					die(a)
					time.Sleep(down)
					in := make(chan string, 1)
					a.Restart(func(s *netservice.NebService) {
						text.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) { in <- string(m.Value) })
					})
					begin := time.Now()
					a.WaitForPeers(1)
					t.Logf("a peer again %s after its restart", time.Since(begin).Round(time.Millisecond))
					time.Sleep(time.Second)
					if err := text.Send(t.Context(), b.Service(), a.ID(), []byte("hello again")); err != nil {
						t.Fatal(err)
					}
					if got := next(t, "message", in); got != "hello again" {
						t.Errorf("got %q", got)
					}
				})
			})
		}
	}
}

// The one that was restarted may be the one that dials.
func TestRestartedDiallerReplacesItsSession(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		a.WaitForPeers(1)
		ev := a.Service().SubscribePeers()
		b.Crash()
		b.Restart()
		if e := event(t, ev, netservice.PeerDisconnected); e.Reason != netservice.ReasonReplaced && e.Reason != netservice.ReasonTransportLost {
			t.Errorf("the old session ended for %s", e.Reason)
		}
		event(t, ev, netservice.PeerConnected)
		if n := len(a.Service().Peers()); n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestClosePeer(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(chain(), quiet())
		evA, evB := a.Service().SubscribePeers(), b.Service().SubscribePeers()
		nw.Start()
		if err := a.Service().ConnectPeer(t.Context(), b.Addr()); err != nil {
			t.Fatal(err)
		}
		if err := a.Service().ClosePeer(b.ID().String(), netservice.ReasonRequested); err != nil {
			t.Fatal(err)
		}
		if e := event(t, evA, netservice.PeerDisconnected); e.Reason != netservice.ReasonRequested || e.ByRemote {
			t.Errorf("a: %+v", e)
		}
		if e := event(t, evB, netservice.PeerDisconnected); e.Reason != netservice.ReasonRequested || !e.ByRemote {
			t.Errorf("b: %+v", e)
		}
		time.Sleep(time.Second)
		if err := a.Service().ClosePeer(b.ID().String(), netservice.ReasonRequested); !errors.Is(err, netservice.ErrUnknownPeer) {
			t.Errorf("closed twice: %v", err)
		}
		if c := a.Service().Node().Host().Network().Conns(); len(c) != 0 {
			t.Errorf("connections: %v", c)
		}
	})
}

// What the two sides tell of themselves reaches the other.
func TestHello(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		var height atomic.Int64
		height.Store(40) // Start asks once
		cfg := chain()
		cfg.Agent, cfg.Capabilities = "prog/1", []string{"archive"}
		cfg.MinVersion, cfg.MaxVersion = 1, 7
		a := nw.Add(cfg, quiet(), netservice.WithPayload(func() []byte { return fmt.Append(nil, height.Add(1)) }))
		hellos := make(chan netservice.PeerHello, 9)
		cfg = booted(a)
		cfg.MaxVersion = 5
		b := nw.Add(cfg, quiet(), netservice.WithPeerCheck(func(_ context.Context, h netservice.PeerHello) error {
			hellos <- h
			return nil
		}))
		nw.Start()
		b.WaitForPeers(1)
		p := b.Service().Peers()[0]
		if p.Agent != "prog/1" || string(p.Payload) != "42" || p.Version != 5 || len(p.Capabilities) != 1 {
			t.Errorf("peer: %+v", p)
		}
		if checked := next(t, "check", hellos); checked.ID != a.ID() || checked.Agent != p.Agent || checked.Version != 5 || string(checked.Payload) != "42" {
			t.Errorf("checked: %+v", checked)
		}
	})
}

// A subscription that nobody reads loses its oldest events, and holds up
// nobody.
func TestPeerEventsNeverBlock(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(chain(), quiet())
		idle := a.Service().SubscribePeers()
		nw.Start()
		for i := range 200 {
			if err := b.Service().ConnectPeer(t.Context(), a.Addr()); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			a.WaitForPeers(1)
			a.Service().ClosePeer(b.ID().String(), netservice.ReasonRequested)
			time.Sleep(10 * time.Second)
		}
		if len(idle.Events()) != cap(idle.Events()) || idle.Dropped() != uint64(400-cap(idle.Events())) {
			t.Errorf("%d events wait, %d were dropped", len(idle.Events()), idle.Dropped())
		}
	})
}

// Nodes that know one boot node find each other.
func TestPeerExchange(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		boot := nw.Add(chain(), quiet())
		for range 7 {
			nw.Add(booted(boot), quiet())
		}
		nw.Start()
		begin := time.Now()
		for _, n := range nw.Nodes() {
			n.WaitForPeers(7)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("a full mesh after %s", d)
		} else {
			t.Logf("a full mesh after %s", d)
		}
	})
}

// The zero value of a reason is one that may go over the wire.
func TestClosePeerWithoutAReason(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		events := a.Service().SubscribePeers(netservice.PeerDisconnected, netservice.PeerBanned)
		nw.Start()
		for range 4 {
			a.WaitForPeers(1)
			b.WaitForPeers(1)
			if err := b.Service().ClosePeer(a.ID().String(), netservice.ReasonNone); err != nil {
				t.Fatal(err)
			}
			if e := event(t, events, netservice.PeerDisconnected); e.Reason != netservice.ReasonRequested {
				t.Errorf("reason %v", e.Reason)
			}
		}
		b.WaitForPeers(1)
	})
}

// A node that has no place for a peer that comes, but looks for one of its own
// choice, dials it.
func TestRefusedPeersAreDialled(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		small := func(c netservice.Config) netservice.Config {
			c.MaxPeers, c.InboundShare = 2, 0.5
			return c
		}
		a := nw.Add(small(chain()), quiet())
		full := booted(a)
		full.MaxPeers = 1 // nobody learns of anybody through it
		b, c := nw.Add(full, quiet()), nw.Add(small(booted(a)), quiet())
		a.Start()
		b.Start()
		b.WaitForPeers(1)
		c.Start()
		a.WaitForPeers(2)
		for _, p := range a.Service().Peers() {
			if out := p.Direction == network.DirOutbound; out != (p.ID == c.ID()) {
				t.Errorf("%s is %s", p.ID, p.Direction)
			}
		}
	})
}
