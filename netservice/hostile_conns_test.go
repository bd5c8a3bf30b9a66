package netservice_test

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

func (s *siege) conns() int { return len(s.victim.Node().Host().Network().Conns()) }

// port is where the victim listens.
func (s *siege) port() netip.AddrPort { return testnet.Addr(s.net.Node(1)) }

// Row 5: sockets that say nothing at all, and connections that prove a key and
// then never say hello, are dropped within the handshake timeout. Honest nodes
// connect meanwhile.
func TestHostileSilence(t *testing.T) {
	for _, level := range []string{"sockets", "peers"} {
		t.Run(level, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.mustServe("before")
				base := runtime.NumGoroutine()
				alive := func() int { return 0 }
				if level == "sockets" {
					var from []netip.Addr
					for range 50 {
						from = append(from, s.net.Node(s.address()))
					}
					open, _ := s.net.OpenSockets(t.Context(), s.port(), 10, from...)
					defer open.Close()
					alive = open.Alive
				} else {
					var open []*testnet.RawPeer
					for range 100 {
						open = append(open, s.raw(s.address(), testnet.RawPeerConfig{}))
					}
					alive = func() (n int) {
						for _, p := range open {
							if !p.IsClosed() {
								n++
							}
						}
						return n
					}
				}
				if n := alive(); n < 100 {
					t.Errorf("only %d of them stand", n)
				}
				s.mustServe("during")
				time.Sleep(netservice.DefaultHandshakeTimeout)
				s.mustServe("later")
				time.Sleep(6 * time.Second) // libp2p's own handshakes have 15 s
				if n := alive(); n != 0 || s.conns() != 0 {
					t.Errorf("%d of them are left, %d connections", n, s.conns())
				}
				if n := s.count("neb.net.handshake.refused.timeout"); level == "peers" && n != 100 {
					t.Errorf("%d timeouts are counted", n)
				}
				settled(t, base)
			})
		})
	}
}

// Row 14: an address whose host cannot prove the ID it goes by.
func TestHostileSpoofedPeer(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a, b := s.attacker(), s.attacker()
		spoofed := a.Addrs()[0].String() + "/p2p/" + b.ID().String()
		if err := s.victim.ConnectPeer(t.Context(), spoofed); !errors.Is(err, netservice.ReasonUnreachable) {
			t.Errorf("connect: %v", err)
		}
		if len(s.victim.Peers()) != 0 || s.conns() != 0 {
			t.Errorf("peers %v, %d connections", s.victim.Peers(), s.conns())
		}
		s.mustServe("after")
	})
}

// Row 15: one key from twelve addresses. It has two connections at most, and
// the node says so once, not ten times.
func TestHostileKeyFromManyAddresses(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		key := s.key()
		usual := s.victim.SubscribePeers()
		first := s.attacker(libp2p.Identity(key))
		first.enlist()
		for range 11 {
			p, err := s.net.DialRaw(t.Context(), s.net.Node(s.address()), s.info(), testnet.RawPeerConfig{Key: key})
			if err == nil {
				defer p.Close()
			}
			time.Sleep(time.Second / 2)
			if n := s.conns(); n > 2 {
				t.Errorf("%d connections", n)
			}
		}
		if s.peers(first.ID()) != 1 {
			t.Error("the first lost its session")
		}
		var kinds []netservice.PeerEventKind
		for len(usual.Events()) > 0 {
			kinds = append(kinds, (<-usual.Events()).Kind)
		}
		if len(kinds) != 2 || kinds[1] != netservice.PeerCrowded || s.count("neb.net.peers.crowded") != 1 {
			t.Errorf("events %v, %d counted", kinds, s.count("neb.net.peers.crowded"))
		}
		if n := s.count("neb.net.connections.refused.peer_limit"); n != 10 {
			t.Errorf("%d refusals are counted", n)
		}
		s.mustServe("after")
	})
}

// Row 15: the same with twelve sessions, each of which claims to be the same
// node restarted. One of them stands.
func TestHostileKeyInUseElsewhere(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		key, hello := s.key(), greeting()
		for i := range 12 {
			a := s.attacker(libp2p.Identity(key))
			hello.Instance = uint64(i + 1)
			if err := a.connect(); err != nil {
				t.Fatal(err)
			}
			if st, err := a.hello(hello); err == nil {
				go pong(st)
			}
			time.Sleep(time.Second)
			if s.conns() > 2 || s.peers(a.ID()) != 1 {
				t.Errorf("%d connections, %d sessions", s.conns(), s.peers(a.ID()))
			}
		}
		s.mustServe("after")
	})
}

// Row 17: a node that is told to keep itself as a peer, under its own name,
// does not dial itself. Under another name it finds out.
func TestHostileSelfDial(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		node := s.address()
		ip := s.net.Node(node)
		key, err := s.net.Key(ip)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		cfg := chain()
		cfg.Bootstrap = []string{testnet.Multiaddr(ip).String() + "/p2p/" + id.String()}
		svc := s.service(node, cfg)
		if err := svc.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if st := s.net.Stats(ip); st.Dials != 0 {
			t.Errorf("%d dials", st.Dials)
		}
		stranger := s.attacker()
		if err := svc.ConnectPeer(t.Context(), testnet.Multiaddr(ip).String()+"/p2p/"+stranger.ID().String()); err == nil {
			t.Error("connected to itself under another name")
		}
		if n := len(svc.Node().Host().Network().Conns()); n != 0 || len(svc.Peers()) != 0 {
			t.Errorf("%d connections, peers %v", n, svc.Peers())
		}
	})
}

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
				settled(t, base)
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
				go pong(st)
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
	})
}

// Row 19: connecting and leaving, again and again, at every depth. The rate is
// limited and nothing is left behind, in memory or in the address book.
func TestHostileChurn(t *testing.T) {
	for _, depth := range []string{"sockets", "connections", "sessions"} {
		t.Run(depth, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.mustServe("before")
				time.Sleep(time.Hour)
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
				time.Sleep(2 * time.Hour)
				if n := s.conns(); n != 0 {
					t.Errorf("%d connections", n)
				}
				settled(t, base)
				if n := len(s.victim.Node().Host().Peerstore().Peers()); n > known+3 {
					t.Errorf("the address book grew from %d to %d peers", known, n)
				}
			})
		})
	}
}
