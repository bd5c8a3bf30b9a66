package netservice_test

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"

	"github.com/go-nebnet/nebnet/internal/handshake"
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
				var alive func() int
				if level == "sockets" {
					var from []netip.Addr
					for range 80 {
						from = append(from, s.net.Node(s.address()))
					}
					open, _ := s.net.OpenSockets(t.Context(), s.port(), 16, from...) // more than may shake hands at once
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
				time.Sleep(time.Second)
				// Connections whose peer is known have a pool of their own.
				if n := alive(); level == "sockets" && n < 100 || level == "peers" && n != 64 {
					t.Errorf("%d of them stand", n)
				}
				s.mustServe("during")
				time.Sleep(5 * time.Second)
				if n := alive(); level == "peers" && n != 0 {
					t.Errorf("%d of them stand after the time for a hello", n)
				}
				s.mustServe("later")
				time.Sleep(11 * time.Second) // libp2p's own handshakes have 15 s
				if n := alive(); n != 0 || s.conns() != 0 {
					t.Errorf("%d of them are left, %d connections", n, s.conns())
				}
				evicted, late := s.count("neb.net.handshake.refused.too_many_peers"), s.count("neb.net.handshake.refused.timeout")
				if level == "peers" && (evicted+late != 100 || late > 63) {
					t.Errorf("%d evicted and %d timeouts are counted", evicted, late)
				}
				awaitGoroutines(t, base)
			})
		})
	}
}

// Row 5: of silent sockets of one address, and of one /24, a share stands.
func TestHostileSilenceOfOneNetwork(t *testing.T) {
	for name, tc := range map[string]struct{ addresses, sockets, most int }{
		"one address": {1, 30, 16},
		"one subnet":  {100, 1, 64},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				var from []netip.Addr
				for i := range tc.addresses {
					from = append(from, netip.AddrFrom4([4]byte{21, 0, 0, byte(i)}))
				}
				open, _ := s.net.OpenSockets(t.Context(), s.port(), tc.sockets, from...)
				defer open.Close()
				time.Sleep(time.Second)
				if n := open.Alive(); n != tc.most {
					t.Errorf("%d of them stand", n)
				}
				if n := s.count("neb.net.connections.refused.ip_handshakes"); n != int64(tc.addresses*tc.sockets-tc.most) {
					t.Errorf("%d refusals are counted", n)
				}
				s.mustServe("during")
			})
		})
	}
}

// Row 14: an address whose host cannot prove the ID it goes by.
func TestHostileSpoofedPeer(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a, b := s.attacker(), s.attacker()
		spoofed := a.Addrs()[0].String() + "/p2p/" + b.ID().String()
		err := s.victim.ConnectPeer(t.Context(), spoofed)
		if _, proven := errors.AsType[sec.ErrPeerIDMismatch](err); !proven || !errors.Is(err, netservice.ReasonUnreachable) {
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

// Row 15: connections of both directions count together.
func TestHostileKeyThatWasDialled(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		key := s.key()
		first := s.attacker(libp2p.Identity(key))
		first.SetStreamHandler(handshake.ProtocolAny, func(st network.Stream) {
			if _, err := handshake.Answer(t.Context(), st, greeting(), nil); err == nil {
				st.Write(firstOffers())
				s.attend(st, true)
			}
		})
		if err := s.victim.ConnectPeer(t.Context(), first.Addrs()[0].String()+"/p2p/"+first.ID().String()); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if p, err := s.net.DialRaw(t.Context(), s.net.Node(s.address()), s.info(), testnet.RawPeerConfig{Key: key}); err == nil {
				defer p.Close()
			}
			time.Sleep(time.Second / 2)
		}
		if n := s.conns(); n != 2 {
			t.Errorf("%d connections", n)
		}
		if s.peers(first.ID()) != 1 || s.count("neb.net.connections.refused.peer_limit") != 4 {
			t.Errorf("%d sessions, %d refusals", s.peers(first.ID()), s.count("neb.net.connections.refused.peer_limit"))
		}
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
				go s.attend(st, true)
			}
			time.Sleep(time.Second)
			if s.conns() > 2 || s.peers(a.ID()) != 1 {
				t.Errorf("%d connections, %d sessions", s.conns(), s.peers(a.ID()))
			}
			if p := s.victim.Peers(); len(p) != 1 {
				continue
			} else if from := p[0].Addr; !from.Equal(a.Network().Conns()[0].LocalMultiaddr()) {
				t.Errorf("the session of %s stands, not that of the last one, %s", from, a.Network().Conns()[0].LocalMultiaddr())
			}
		}
		s.mustServe("after")
	})
}

// A peer that loses its session while it makes the next one, on another
// connection, keeps that one, whenever it happens.
func TestHostileSessionLostDuringHello(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		key, hello := s.key(), greeting()
		for delay := time.Duration(0); delay <= 80*time.Millisecond; delay += 4 * time.Millisecond {
			old, young := s.attacker(libp2p.Identity(key)), s.attacker(libp2p.Identity(key))
			old.enlist()
			old.identified()
			if err := young.connect(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(delay, func() { old.control.Reset() })
			hello.Instance += 2
			st, err := young.hello(hello)
			if err != nil {
				t.Errorf("%s: %v", delay, err)
				continue
			}
			go s.attend(st, true)
			time.Sleep(5 * time.Second)
			if s.conns() != 1 || s.peers(young.ID()) != 1 {
				t.Errorf("%s: %d connections, %d sessions", delay, s.conns(), s.peers(young.ID()))
			}
			young.Close()
			time.Sleep(time.Minute)
		}
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
