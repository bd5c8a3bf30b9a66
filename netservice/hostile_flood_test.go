package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Row 18: many keys from one address, and from one /24. What they can take is
// capped, and others find a place.
func TestHostileConnectionFlood(t *testing.T) {
	for name, tc := range map[string]struct {
		from func(i int) netip.Addr
		most int
	}{
		"one address": {func(int) netip.Addr { return netip.MustParseAddr("21.0.0.1") }, 48},
		"one subnet":  {func(i int) netip.Addr { return netip.AddrFrom4([4]byte{21, 0, 0, byte(i)}) }, 180},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.mustServe("before")
				base, most := runtime.NumGoroutine(), 0
				for i := range 200 {
					p, err := s.net.DialRaw(t.Context(), tc.from(i), s.info(), testnet.RawPeerConfig{})
					if err == nil {
						defer p.Close()
					}
					most = max(most, s.conns())
				}
				if most == 0 || most > tc.most {
					t.Errorf("%d connections at once", most)
				}
				if n := s.count("neb.net.connections.refused.gate") + s.count("neb.net.connections.refused.limit"); n == 0 {
					t.Error("no refusal is counted")
				}
				s.mustServe("during")
				time.Sleep(30 * time.Second)
				awaitGoroutines(t, base)
			})
		})
	}
}

// Row 18: a flood of nodes that are peers in good order, of many addresses,
// takes the inbound share and no more.
func TestHostileFloodOfPeers(t *testing.T) {
	besiege(t, func(c *netservice.Config) { c.MaxPeers, c.InboundShare = 8, 0.5 }, func(t *testing.T, s *siege) {
		friend := s.service(s.address(), chain())
		if err := friend.Start(); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for range 20 {
			a := s.attacker()
			if err := a.connect(); err != nil {
				t.Fatal(err)
			}
			if st, err := a.hello(greeting()); errors.Is(err, netservice.ReasonTooManyPeers) {
				refused++
			} else if err == nil {
				go s.attend(st, true)
			}
		}
		time.Sleep(5 * time.Second)
		if n := len(s.victim.Peers()); n != 4 || refused != 16 {
			t.Errorf("%d peers, %d refused", n, refused)
		}
		if n := s.conns(); n != 4 {
			t.Errorf("%d connections", n)
		}
		if err := s.victim.ConnectPeer(t.Context(), friend.Node().Addrs()[0].String()); err != nil {
			t.Errorf("no place for a peer of the node's own choice: %v", err)
		}
		for i := range 6 { // four more find a place
			other := s.service(s.address(), chain())
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			err := s.victim.ConnectPeer(t.Context(), other.Node().Addrs()[0].String())
			if full := errors.Is(err, netservice.ReasonTooManyPeers); full != (i >= 3) || !full && err != nil {
				t.Errorf("own choice %d: %v", i+2, err)
			}
		}
		if n := len(s.victim.Peers()); n != 8 {
			t.Errorf("%d peers", n)
		}
	})
}

// Row 19: connecting and leaving, again and again, at every depth. The rate is
// limited and nothing is left behind, in memory or in the address book.
func TestHostileChurn(t *testing.T) {
	for _, depth := range []string{"sockets", "connections", "sessions"} {
		t.Run(depth, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.mustServe("before")
				time.Sleep(10 * time.Minute)
				base, known := runtime.NumGoroutine(), len(s.victim.Node().Host().Peerstore().Peers())
				node := s.address()
				in := 0
				const rounds = 80
				for range rounds {
					switch depth {
					case "sockets":
						in += s.net.Churn(t.Context(), s.net.Node(node), s.port(), 20) / 20
					case "connections":
						if p, err := s.net.DialRaw(t.Context(), s.net.Node(node), s.info(), testnet.RawPeerConfig{}); err == nil {
							in++
							p.Close()
						}
					case "sessions":
						a := s.attackerAt(node, libp2p.NoListenAddrs, libp2p.Identity(s.key()))
						if a.connect() == nil {
							if _, err := a.hello(greeting()); err == nil {
								in++
							}
						}
						a.Close()
					}
				}
				if depth != "sockets" && in > rounds/2 {
					t.Errorf("%d of %d rounds went through: no limit", in, rounds)
				}
				s.mustServe("during")
				time.Sleep(20 * time.Minute)
				if n := s.conns(); n != 0 {
					t.Errorf("%d connections", n)
				}
				awaitGoroutines(t, base)
				if n := len(s.victim.Node().Host().Peerstore().Peers()); n > known+3 {
					t.Errorf("the address book grew from %d to %d peers", known, n)
				}
			})
		})
	}
}

// Row 57: peers flood a type on their streams, and an honest peer sends some of it.
// What a slow subscriber takes is shared among them, whatever its policy, so that all
// that the honest one sends arrives, and soon: it waits for what is in the queue, and
// where nothing may be dropped for one message of each of the others.
func TestHostileFlood(t *testing.T) {
	for policy, tc := range map[dispatcher.Policy]struct {
		floods int
		within time.Duration
	}{
		dispatcher.DropNewest: {1, time.Second},
		dispatcher.DropOldest: {1, time.Second},
		dispatcher.Lossless:   {16, 600 * time.Millisecond},
	} {
		t.Run(policy.String(), func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				tx := netservice.Declare("tx", netservice.Raw())
				var got atomic.Int64
				var latest atomic.Int64 // how long a message of the honest one took at most
				if _, err := tx.Subscribe(s.victim, func(_ context.Context, m netservice.Received[[]byte]) {
					time.Sleep(time.Millisecond) // 1,000 a second
					if at, ok := strings.CutPrefix(string(m.Value), "honest "); ok {
						sent, err := time.Parse(time.RFC3339Nano, at)
						if err != nil {
							t.Error(err)
						}
						got.Add(1)
						latest.Store(max(latest.Load(), int64(time.Since(sent))))
					}
				}, dispatcher.WithPolicy(policy), dispatcher.WithQueue(256)); err != nil {
					t.Fatal(err)
				}
				friend := s.friend(nil)
				const each = 500 // a tenth of a second, and more than fit into the queue at once
				var flooded sync.WaitGroup
				var floods []*attacker
				for f := range tc.floods {
					a := s.session()
					st := a.open("tx")
					floods = append(floods, a)
					flooded.Go(func() {
						for i := 0; ; i++ {
							var b []byte
							for k := range each {
								b = append(b, frame(10, plain, fmt.Appendf(nil, "%02d %07d", f, each*i+k)...)...)
							}
							if _, err := st.Write(b); err != nil {
								return
							}
							time.Sleep(100 * time.Millisecond)
						}
					})
				}
				time.Sleep(5 * time.Second)
				const honest = 100
				for range honest {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					err := tx.Send(ctx, friend, s.victim.Node().ID(), []byte("honest "+time.Now().Format(time.RFC3339Nano)))
					cancel()
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(10 * time.Second)
				if n := got.Load(); n != honest {
					t.Errorf("%d of an honest %d arrive", n, honest)
				}
				if d := time.Duration(latest.Load()); d > tc.within {
					t.Errorf("one took %s", d)
				}
				for _, a := range floods {
					a.Close()
				}
				flooded.Wait()
			})
		})
	}
}
