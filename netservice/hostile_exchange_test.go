package netservice_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/go-nebnet/nebnet/internal/discovery"
	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
)

// madeUp is the signed record of a peer that nobody is.
func madeUp(t *testing.T, addrs ...string) []byte {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	rec := &peer.PeerRecord{PeerID: id, Seq: uint64(time.Now().UnixNano())}
	for _, a := range addrs {
		rec.Addrs = append(rec.Addrs, ma.StringCast(a))
	}
	return sealed(t, key, rec)
}

// tells answers each question for peers with what reply makes of the number of
// records that were asked for.
func (a *attacker) tells(reply func(count int) []byte) {
	a.SetStreamHandler(discovery.Protocol(a.s.victim.Node().Network()), func(st network.Stream) {
		defer st.Close()
		br := bufio.NewReader(st)
		size, err := binary.ReadUvarint(br)
		if err != nil {
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(br, body); err != nil {
			return
		}
		_, _, n := protowire.ConsumeTag(body)
		count, _ := protowire.ConsumeVarint(body[n:])
		st.Write(reply(int(count)))
	})
}

// asks has the victim tell of its peers, and returns the addresses that it tells of one.
func (a *attacker) asks(of peer.ID) (addrs []ma.Multiaddr) {
	t := a.s.t
	t.Helper()
	st, err := a.NewStream(t.Context(), a.s.victim.Node().ID(), discovery.Protocol(a.s.victim.Node().Network()))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.Write([]byte{2, 1 << 3, 16}); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(st)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := protowire.ConsumeBytes(reply)
	for len(body) > 0 {
		_, _, n := protowire.ConsumeTag(body)
		raw, size := protowire.ConsumeBytes(body[n:])
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		body = body[n+size:]
		_, rec, err := record.ConsumeEnvelope(raw, peer.PeerRecordEnvelopeDomain)
		if err != nil {
			t.Fatal(err)
		}
		if rec := rec.(*peer.PeerRecord); rec.PeerID == of {
			addrs = rec.Addrs
		}
	}
	return addrs
}

// records is a reply with so many records.
func records(count int, rec func() []byte) []byte {
	var body []byte
	for range count {
		body = append(body, field(1, rec())...)
	}
	return protowire.AppendBytes(nil, body)
}

// Row 59: peers that tell of made-up peers at the address of a third party. It is
// dialled a few times an hour, and not at all where it is not on this node's network.
func TestHostileExchangeAimed(t *testing.T) {
	for name, tc := range map[string]struct {
		hostile int
		third   string
		most    int64 // connections in 20 minutes: 16 at once, and one in five minutes
	}{
		"one peer":          {1, "99.1.2.3", 20},
		"ten peers":         {10, "99.1.2.3", 20},
		"a private network": {1, "10.0.0.5", 0},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				third := netip.MustParseAddr(tc.third)
				var knocks atomic.Int64
				var addrs []string
				for i := range 8 {
					port := uint16(25 + i)
					addrs = append(addrs, fmt.Sprintf("/ip4/%s/tcp/%d", third, port))
					l, err := s.net.Listen(netip.AddrPortFrom(third, port))
					if err != nil {
						t.Fatal(err)
					}
					defer l.Close()
					go func() {
						for {
							c, err := l.Accept()
							if err != nil {
								return
							}
							knocks.Add(1)
							c.Close()
						}
					}()
				}
				var asked atomic.Int64
				for range tc.hostile {
					a := s.attacker()
					a.tells(func(count int) []byte {
						asked.Add(1)
						return records(count, func() []byte { return madeUp(t, addrs...) })
					})
					a.enlist()
				}
				time.Sleep(20 * time.Minute)
				if n := knocks.Load(); n > tc.most || n == 0 && tc.most > 0 {
					t.Errorf("%d connections to a third party", n)
				}
				if asked.Load() == 0 {
					t.Error("nobody was asked: nothing is tried")
				}
			})
		})
	}
}

// Rows 31 and 32: answers with nothing in them that may be dialled, and answers that
// break the protocol. Nothing is dialled for either, and who goes on with the latter
// is banned.
func TestHostileExchangeAnswers(t *testing.T) {
	useless := func(addrs ...string) func(t *testing.T, count int) []byte {
		return func(t *testing.T, count int) []byte {
			return records(count, func() []byte { return madeUp(t, addrs...) })
		}
	}
	for name, tc := range map[string]struct {
		banned bool
		reply  func(t *testing.T, count int) []byte
	}{
		"names":           {false, useless("/dns4/victim.example/tcp/25", "/dnsaddr/victim.example")},
		"no port":         {false, useless("/ip4/99.1.2.3/tcp/0")},
		"no single host":  {false, useless("/ip4/0.0.0.0/tcp/25", "/ip4/255.255.255.255/tcp/25", "/ip4/224.0.0.1/tcp/25")},
		"through another": {false, useless("/ip4/99.1.2.3/tcp/25/p2p/12D3KooWFLAruTAYitYuFq11AGy1KemMgibgDZRsN7HEQSfXEVAx/p2p-circuit")},
		"nothing":         {false, func(*testing.T, int) []byte { return []byte{0} }},
		"too many": {true, func(t *testing.T, count int) []byte {
			return records(count+1, func() []byte { return madeUp(t, "/ip4/99.1.2.3/tcp/25") })
		}},
		"one twice": {true, func(t *testing.T, count int) []byte {
			rec := madeUp(t, "/ip4/99.1.2.3/tcp/25")
			return records(2, func() []byte { return rec })
		}},
		"forged": {true, func(t *testing.T, count int) []byte {
			return records(1, func() []byte {
				rec := madeUp(t, "/ip4/99.1.2.3/tcp/25")
				rec[len(rec)-1] ^= 1
				return rec
			})
		}},
		"a length of 2^63": {true, func(*testing.T, int) []byte { return binary.AppendUvarint(nil, 1<<63) }},
		"noise":            {true, func(*testing.T, int) []byte { return protowire.AppendBytes(nil, bytes.Repeat([]byte{0xff}, 1000)) }},
		"two answers":      {true, func(*testing.T, int) []byte { return []byte{0, 0} }},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				var asked atomic.Int64
				a := s.attacker()
				a.tells(func(count int) []byte {
					asked.Add(1)
					return tc.reply(t, count)
				})
				a.enlist()
				if tc.banned {
					for range 10 {
						if time.Sleep(time.Minute); s.peers(a.ID()) == 0 {
							break
						}
					}
					s.event(netservice.PeerBanned, a.ID())
				} else {
					time.Sleep(3 * time.Minute)
					if s.peers(a.ID()) != 1 {
						t.Error("the peer was lost")
					}
				}
				if n := s.count("neb.net.exchange.found"); n != 0 {
					t.Errorf("%d peers are taken for some", n)
				}
				if asked.Load() == 0 {
					t.Error("it was not asked: nothing is tried")
				}
			})
		})
	}
}

// A boot node that once says that this node is itself, by mistake or by will, is
// dialled again.
func TestHostileBootNodeSaysSelf(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		boot := s.attacker()
		cfg := chain()
		cfg.Bootstrap = []string{boot.Addrs()[0].String() + "/p2p/" + boot.ID().String()}
		var lie atomic.Bool
		var hellos atomic.Int64
		lie.Store(true)
		boot.SetStreamHandler(handshake.ProtocolAny, func(st network.Stream) {
			hellos.Add(1)
			_, err := handshake.Answer(t.Context(), st, greeting(), func(handshake.Hello) error {
				if lie.Load() {
					return handshake.ReasonSelf
				}
				return nil
			})
			if err == nil {
				st.Write(firstOffers())
				s.attend(st, true)
			}
		})
		svc := s.service(s.address(), cfg)
		met := svc.SubscribePeers(netservice.PeerConnected)
		if err := svc.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := hellos.Load(); n == 0 || n > 2 {
			t.Errorf("%d hellos in the first minute", n)
		}
		lie.Store(false)
		for begin := time.Now(); len(met.Events()) == 0; time.Sleep(time.Minute) {
			if time.Since(begin) > 3*time.Hour {
				t.Fatal("it is never dialled again")
			}
		}
	})
}

// Row 59: a hostile peer repeats the old record of a peer that has moved. The newer one,
// which another peer tells of, is no repetition: it waits neither for the pause that the
// old one has earned, nor for that after the dials which it has cost. Row 39: so it is
// when the peer's clock was ahead as it signed the old one.
func TestHostileExchangeRepeated(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"an older record":          0,
		"of a clock a year ahead":  365 * 24 * time.Hour,
		"of a clock an hour ahead": time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				testkit.PastRecords()
				s := newSiege(t)
				s.begin(s.service(s.address(), chain()))
				node := s.address()
				key, err := s.net.Key(s.net.Node(node))
				if err != nil {
					t.Fatal(err)
				}
				cfg := chain()
				cfg.NoPeerExchange = true // it asks for nobody, and is dialled or not
				moved := s.service(node, cfg)
				old := sealed(t, key, &peer.PeerRecord{
					PeerID: moved.Node().ID(), Seq: uint64(time.Now().Add(ahead).UnixNano()),
					Addrs: []ma.Multiaddr{ma.StringCast("/ip4/99.1.2.3/tcp/1")},
				})
				var asked atomic.Int64
				a := s.attacker()
				a.tells(func(int) []byte {
					asked.Add(1)
					return records(1, func() []byte { return old })
				})
				a.enlist()
				time.Sleep(40 * time.Minute) // the sixth pause has half an hour to go
				if dropped := s.count("neb.net.exchange.dropped.repeated"); dropped == 0 || asked.Load() == 0 {
					t.Fatalf("%d questions, %d answers dropped as repeated: nothing is tried", asked.Load(), dropped)
				}
				friend := s.friend(nil)
				if err := moved.Start(); err != nil {
					t.Fatal(err)
				}
				if err := moved.ConnectPeer(t.Context(), friend.Node().Addrs()[0].String()); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				for s.peers(moved.Node().ID()) == 0 && time.Since(begin) < 30*time.Second {
					time.Sleep(time.Second)
				}
				dialled := false
				for _, p := range s.victim.Peers() {
					dialled = dialled || p.ID == moved.Node().ID() && p.Direction == network.DirOutbound
				}
				if !dialled {
					t.Errorf("not dialled at its new address within %s", time.Since(begin))
				}
			})
		})
	}
}
