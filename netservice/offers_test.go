package netservice_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// lockedLog collects what is logged.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedLog) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// Two nodes that have declared a type differently hear of each other what both
// declarations allow. Both say once how they differ, count it, and show it.
func TestDeclarationsDiffer(t *testing.T) {
	timed := netservice.GossipSpec{Timed: true}
	offer := func(maxSize int) netservice.TypeOffer { return netservice.TypeOffer{MaxSize: maxSize} }
	plain := offer(4 << 20)
	for name, tc := range map[string]struct {
		a, b           netservice.MessageSpec
		theirsA        netservice.TypeOffer // what a has declared
		theirsB        netservice.TypeOffer
		broadcast      bool // small broadcasts pass
		largest        int  // that both take on a stream
		same, unheeded bool
	}{
		"a maximum above 1 MiB": {
			a: netservice.MessageSpec{MaxSize: 8 << 20}, theirsA: offer(8 << 20), theirsB: plain, broadcast: true, largest: 4 << 20},
		"a smaller maximum": {
			b: netservice.MessageSpec{MaxSize: 6000}, theirsA: plain, theirsB: offer(6000), broadcast: true, largest: 6000},
		"timed at the sender": {
			a: netservice.MessageSpec{Gossip: timed}, theirsA: netservice.TypeOffer{MaxSize: 4 << 20, Timed: true}, theirsB: plain, broadcast: true, largest: 4 << 20},
		"timed at the receiver": {
			b: netservice.MessageSpec{Gossip: timed}, theirsA: plain, theirsB: netservice.TypeOffer{MaxSize: 4 << 20, Timed: true}, broadcast: true, largest: 4 << 20},
		"not broadcast at the receiver": {
			b: netservice.MessageSpec{NoBroadcast: true}, theirsA: plain, theirsB: netservice.TypeOffer{MaxSize: 4 << 20, NoBroadcast: true}, largest: 4 << 20},
		"alike": {theirsA: plain, theirsB: plain, broadcast: true, largest: 4 << 20, same: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				logs := [2]*lockedLog{{}, {}}
				logged := func(i int) netservice.Option {
					l := logrus.New()
					l.SetOutput(logs[i])
					l.SetLevel(logrus.WarnLevel)
					return netservice.WithLogger(l)
				}
				a := nw.Add(chain(), logged(0))
				b := nw.Add(booted(a), logged(1))
				tc.a.Name, tc.b.Name = "block", "block"
				for n, spec := range map[*nettest.Node]netservice.MessageSpec{a: tc.a, b: tc.b} {
					if err := n.Service().Declare(spec); err != nil {
						t.Fatal(err)
					}
				}
				got := make(chan []byte, 9)
				if err := b.Service().Register(dispatcher.NewHandler("test", "block", func(_ context.Context, m dispatcher.Message) { got <- m.Data() })); err != nil {
					t.Fatal(err)
				}
				inbox(t, a.Service(), 1) // so that both take part in gossip
				inbox(t, b.Service(), 1)
				nw.Start()
				a.WaitForPeers(1)
				b.WaitForPeers(1)
				time.Sleep(3 * time.Second)

				small := randomBytes(5000)
				if err := a.Service().Broadcast(t.Context(), "block", small); err != nil {
					t.Errorf("broadcast: %v", err)
				}
				time.Sleep(5 * time.Second)
				if tc.broadcast {
					if data := next(t, "broadcast", got); !bytes.Equal(data, small) {
						t.Errorf("%d bytes came, %x...", len(data), data[:20])
					}
				} else if len(got) > 0 {
					t.Error("a broadcast came")
				}
				peer := b.ID().String()
				if err := a.Service().SendMessageToPeer(t.Context(), "block", make([]byte, tc.largest), peer); err != nil {
					t.Errorf("send of %d bytes: %v", tc.largest, err)
				}
				if data := next(t, "message", got); len(data) != tc.largest {
					t.Errorf("%d bytes came", len(data))
				}
				if err := a.Service().SendMessageToPeer(t.Context(), "block", make([]byte, tc.largest+1), peer); !errors.Is(err, netservice.ErrTooLarge) {
					t.Errorf("send of one byte more: %v", err)
				}

				tc.theirsB.Taken = true // b has a subscriber
				for i, n := range []*nettest.Node{a, b} {
					ours, theirs := tc.theirsA, tc.theirsB
					if n == b {
						ours, theirs = theirs, ours
					}
					want := []netservice.TypeDifference{{Type: "block", Ours: ours, Theirs: theirs}}
					times := 1
					if tc.same {
						want, times = nil, 0
					}
					if d := n.Service().Peers()[0].Differing; fmt.Sprint(d) != fmt.Sprint(want) {
						t.Errorf("node %d shows %+v, want %+v", i, d, want)
					}
					if c := logs[i].count("declares a message type differently"); c != times {
						t.Errorf("node %d warns %d times", i, c)
					}
					if c := count(n.Service(), "neb.net.types.differ.block"); c != int64(times) {
						t.Errorf("node %d counts %d", i, c)
					}
				}
			})
		})
	}
}

// A peer that drops its subscription and makes it anew gets what is sent to it
// from then on, all of it and once.
func TestResubscribe(t *testing.T) {
	for _, messages := range []int{1, 2000} {
		t.Run(fmt.Sprint(messages), func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a := nw.Add(chain(), quiet())
				b := nw.Add(booted(a), quiet())
				var mu sync.Mutex // guards got
				got := make(map[string]int)
				handle := func(_ context.Context, m netservice.Received[[]byte]) {
					mu.Lock()
					defer mu.Unlock()
					got[string(m.Value)]++
				}
				sub, err := text.Subscribe(b.Service(), handle)
				if err != nil {
					t.Fatal(err)
				}
				nw.Start()
				a.WaitForPeers(1)
				b.WaitForPeers(1)
				if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("before")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				sub.Close()
				time.Sleep(time.Second)
				if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("between")); !errors.Is(err, netservice.ErrUnsupported) {
					t.Errorf("nobody listens: %v", err)
				}
				if _, err := text.Subscribe(b.Service(), handle, dispatcher.WithPolicy(dispatcher.Lossless)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				for i := range messages {
					if err := text.Send(t.Context(), a.Service(), b.ID(), fmt.Appendf(nil, "%04d-0123456789", i)); err != nil {
						t.Fatal(i, err)
					}
				}
				time.Sleep(30 * time.Second)
				mu.Lock()
				defer mu.Unlock()
				if len(got) != messages+1 {
					t.Errorf("%d of %d messages arrived; dropped %v", len(got)-1, messages, a.Service().Stats().Peers[b.ID().String()].Send.Dropped)
				}
				for m, n := range got {
					if n != 1 {
						t.Errorf("%q came %d times", m, n)
					}
				}
			})
		})
	}
}

// A program that declares more types than peers may be told of learns it, and the
// others go on.
func TestTooManyTypes(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		in := inbox(t, b.Service(), 1)
		nw.Start()
		a.WaitForPeers(1)
		none := func(context.Context, netservice.Received[[]byte]) {}
		n := 0
		var err error
		for ; err == nil && n < 5000; n++ {
			_, err = netservice.Declare(fmt.Sprint("t", n), netservice.Raw(), netservice.WithoutBroadcast()).Subscribe(b.Service(), none)
		}
		if !errors.Is(err, netservice.ErrTooManyTypes) || n < 4000 {
			t.Errorf("after %d types: %v", n, err)
		}
		if err := b.Service().Declare(netservice.MessageSpec{Name: "one-more", NoBroadcast: true}); !errors.Is(err, netservice.ErrTooManyTypes) {
			t.Errorf("declare: %v", err)
		}
		time.Sleep(10 * time.Second)
		if err := netservice.Declare("t3999", netservice.Raw(), netservice.WithoutBroadcast()).Send(t.Context(), a.Service(), b.ID(), nil); err != nil {
			t.Errorf("one of the last: %v", err)
		}
		if err := text.Send(t.Context(), a.Service(), b.ID(), nil); err != nil {
			t.Errorf("the first: %v", err)
		}
		next(t, "message", in)
	})
}

// Peers have each other's signed records from their sessions, and the latest ones.
func TestRecordsComeOverSessions(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		a.WaitForPeers(1)
		b.WaitForPeers(1)
		time.Sleep(time.Second)
		for _, pair := range [][2]*nettest.Node{{a, b}, {b, a}} {
			book, ok := peerstore.GetCertifiedAddrBook(pair[0].Service().Node().Host().Peerstore())
			if !ok {
				t.Fatal("no certified address book")
			}
			if book.GetPeerRecord(pair[1].ID()) == nil {
				t.Error("no record")
			}
		}
	})
}

// A record that is not the peer's own, or is none, is a violation.
func TestHostileRecords(t *testing.T) {
	for name, record := range map[string]func(s *siege, a *attacker) []byte{
		"noise":          func(*siege, *attacker) []byte { return randomBytes(300) },
		"another peer's": func(s *siege, _ *attacker) []byte { return recordOf(t, s.attacker().Host, 1) },
		"many addresses": func(_ *siege, a *attacker) []byte { return recordOf(t, a.Host, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				a := s.session()
				raw := record(s, a)
				a.control.Write(append(binary.AppendUvarint([]byte{6}, uint64(len(raw))), raw...))
				if e := s.event(netservice.PeerDisconnected, a.ID()); e.Reason != netservice.ReasonProtocol || e.ByRemote {
					t.Errorf("disconnected: %+v", e)
				}
				s.mustServe("after")
			})
		})
	}
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.session()
		raw := recordOf(t, a.Host, 60)
		a.control.Write(append(binary.AppendUvarint([]byte{6}, uint64(len(raw))), raw...))
		time.Sleep(time.Second)
		if s.peers(a.ID()) != 1 {
			t.Error("a good record ends the session")
		}
		book, _ := peerstore.GetCertifiedAddrBook(s.victim.Node().Host().Peerstore())
		if env := book.GetPeerRecord(a.ID()); env == nil {
			t.Error("no record")
		}
	})
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.session()
		raw := recordOf(t, a.Host, 60)
		again := append(binary.AppendUvarint([]byte{6}, uint64(len(raw))), raw...)
		a.control.Write(bytes.Repeat(again, 40)) // each costs more to verify than to send
		if e := s.event(netservice.PeerDisconnected, a.ID()); e.Reason != netservice.ReasonProtocol || e.ByRemote {
			t.Errorf("disconnected: %+v", e)
		}
	})
}

// Row 39: a peer's clock was an hour ahead and is set right. Its last word counts, here
// and with those that are told of it.
func TestRecordOfAClockThatWasAhead(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.session()
		a.identified()
		key := a.Peerstore().PrivKey(a.ID())
		for _, at := range []struct {
			ahead time.Duration
			addr  string
		}{{time.Hour, "/ip4/5.0.0.1/tcp/1"}, {0, "/ip4/5.0.0.2/tcp/1"}} {
			raw := sealed(t, key, &peer.PeerRecord{
				PeerID: a.ID(), Seq: uint64(time.Now().Add(at.ahead).UnixNano()), Addrs: []ma.Multiaddr{ma.StringCast(at.addr)},
			})
			a.control.Write(append(binary.AppendUvarint([]byte{6}, uint64(len(raw))), raw...))
			time.Sleep(time.Second)
			book, _ := peerstore.GetCertifiedAddrBook(s.victim.Node().Host().Peerstore())
			rec, err := book.GetPeerRecord(a.ID()).Record()
			if err != nil {
				t.Fatal(err)
			}
			if addrs := rec.(*peer.PeerRecord).Addrs; addrs[0].String() != at.addr {
				t.Errorf("the host has %s of it, not %s", addrs[0], at.addr)
			}
			if got := s.session().asks(a.ID()); len(got) != 1 || got[0].String() != at.addr {
				t.Errorf("others are told of %v, not %s", got, at.addr)
			}
		}
	})
}

// recordOf is a record signed by a host, with so many addresses.
func recordOf(t *testing.T, h host.Host, addrs int) []byte {
	t.Helper()
	info := peer.AddrInfo{ID: h.ID()}
	for i := range addrs {
		info.Addrs = append(info.Addrs, ma.StringCast(fmt.Sprintf("/ip4/10.0.0.%d/tcp/1", i)))
	}
	rec := peer.PeerRecordFromAddrInfo(info)
	env, err := record.Seal(rec, h.Peerstore().PrivKey(h.ID()))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
