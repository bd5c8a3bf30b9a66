package netservice_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// Row 46: a service that is stopped in the middle of everything that can be
// stuck ends within its bound, leaves no goroutine, and says so to later calls.
func TestHostileStop(t *testing.T) {
	besiege(t, func(c *netservice.Config) { c.ShutdownTimeout = netservice.Duration(10 * time.Second) }, func(t *testing.T, s *siege) {
		s.catchBait(func(netservice.Received[[]byte]) {})
		// Peers that neither read nor ever say goodbye, with full queues.
		for range 20 {
			a := s.attacker()
			a.SetStreamHandler(s.protocol(), func(network.Stream) {})
			if err := a.connect(); err != nil {
				t.Fatal(err)
			}
			st, err := a.hello(greeting())
			if err != nil {
				t.Fatal(err)
			}
			go s.attend(st, false)
			a.open("bait").Write(frame(1000, plain, 1)) // stuck in a frame
		}
		// Hellos that never come, and streams without a name.
		for range 5 {
			p := s.raw(s.address(), testnet.RawPeerConfig{})
			p.Open(t.Context(), handshake.ProtocolAny)
			p.OpenMute(t.Context(), 30)
		}
		if n := len(s.victim.Peers()); n != 20 {
			t.Fatalf("%d peers", n)
		}
		time.Sleep(time.Second)
		for range 100 {
			text.Broadcast(t.Context(), s.victim, randomBytes(64<<10))
		}
		waits := make(chan error, 2)
		p := s.victim.Peers()[0]
		go func() {
			for {
				if err := text.Send(t.Context(), s.victim, p.ID, randomBytes(64<<10)); err != nil {
					waits <- err
					return
				}
			}
		}()
		go func() { waits <- s.victim.WaitForPeers(t.Context(), 1000) }()
		time.Sleep(time.Second)

		begin := time.Now()
		if err := s.victim.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("stop took %s", d)
		}
		for range 2 {
			if err := next(t, "end of a call that waits", waits); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a call that waited: %v", err)
			}
		}
		if err := s.victim.Broadcast(t.Context(), "text", nil); !errors.Is(err, netservice.ErrStopped) {
			t.Errorf("broadcast after stop: %v", err)
		}
		if n := s.net.Stats(s.net.Node(1)).Conns; n != 0 {
			t.Errorf("%d sockets are open", n)
		}
	})
}

// Row 47: a dozen nodes that lose their boot node at one moment come back after
// the heal, all of them, and not at one moment.
func TestHostilePartition(t *testing.T) {
	const n = 12
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.NoPeerExchange = true
		hub := nw.Add(cfg, quiet())
		for range n {
			c := booted(hub)
			c.NoPeerExchange = true
			nw.Add(c, quiet())
		}
		nw.Start()
		hub.WaitForPeers(n)
		time.Sleep(time.Minute)
		base := runtime.NumGoroutine()
		for _, down := range []time.Duration{30 * time.Second, 8 * time.Minute} {
			nw.Partition([]*nettest.Node{hub})
			time.Sleep(down)
			if left := len(hub.Service().Peers()); left != 0 {
				t.Errorf("%d peers behind a partition", left)
			}
			ev := hub.Service().SubscribePeers(netservice.PeerConnected)
			healed := time.Now()
			nw.Heal()
			var back []time.Duration
			for range n {
				// Those that the hub dials itself may well be there at one moment.
				if event(t, ev, netservice.PeerConnected).Direction == network.DirInbound {
					back = append(back, time.Since(healed))
				}
			}
			ev.Close()
			if last := time.Since(healed); last > 50*time.Second {
				t.Errorf("after %s: the last came back after %s", down, last)
			}
			// The longer they were away, the further apart they come. Those that were
			// just dialling come with the next SYN, some of them together.
			if most := herd(back, min(down/200, time.Second)); most > n*2/3 {
				t.Errorf("after %s: %d came back at once: %v", down, most, back)
			}
		}
		time.Sleep(time.Minute)
		if now := runtime.NumGoroutine(); now > base+n {
			t.Errorf("%d goroutines, %d before", now, base)
		}
	})
}

// herd is the most of the moments that lie within one window.
func herd(at []time.Duration, window time.Duration) (most int) {
	slices.Sort(at)
	for i := range at {
		j, _ := slices.BinarySearch(at, at[i]+window)
		most = max(most, j-i)
	}
	return most
}

// Row 47: a link that flaps does not make its ends dial like mad, and there is
// one session when it is quiet again.
func TestHostileFlapping(t *testing.T) {
	for name, period := range map[string]time.Duration{"quick": 2 * time.Second, "slow": 45 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a := nw.Add(chain(), quiet())
				b := nw.Add(booted(a), quiet())
				nw.Start()
				b.WaitForPeers(1)
				const rounds = 40
				for i := range rounds {
					if i%2 == 0 {
						nw.Isolate(a)
					} else {
						nw.Heal()
					}
					time.Sleep(period)
				}
				nw.Heal()
				dials := count(b.Service(), "neb.net.dials.none") + count(b.Service(), "neb.net.dials.unreachable")
				if most := int64(rounds*period/(2*time.Second)) + 10; dials > most {
					t.Errorf("%d dials", dials)
				}
				time.Sleep(2 * time.Minute)
				for _, nd := range []*nettest.Node{a, b} {
					if n := len(nd.Service().Peers()); n != 1 {
						t.Errorf("%d sessions", n)
					}
					if c := nd.Service().Node().Host().Network().Conns(); len(c) != 1 {
						t.Errorf("connections: %v", c)
						for _, conn := range c {
							for _, st := range conn.GetStreams() {
								t.Logf("%s carries %s", conn, st.Protocol())
							}
						}
					}
				}
				in := inbox(t, b.Service(), 1)
				time.Sleep(10 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := text.Send(ctx, a.Service(), b.ID(), []byte("x")); err != nil {
					t.Fatal(err)
				}
				next(t, "message", in)
			})
		})
	}
}
