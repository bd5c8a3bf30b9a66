package netservice_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/discovery"
	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Row 6: streams that never say what they want. They hold up the peer that
// opened them, and nobody else.
func TestHostileMuteStreams(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		s.mustServe("before")
		base := runtime.NumGoroutine()
		for range 4 {
			p := s.raw(s.address(), testnet.RawPeerConfig{})
			go func() {
				for t.Context().Err() == nil && !p.IsClosed() {
					p.OpenMute(t.Context(), 1000)
				}
			}()
		}
		for range 3 {
			time.Sleep(2 * time.Second)
			s.mustServe("during")
			for _, c := range s.victim.Node().Host().Network().Conns() {
				if n := len(c.GetStreams()); n > 64 {
					t.Errorf("one connection holds %d streams", n)
				}
			}
		}
		// They never say hello either.
		time.Sleep(10 * time.Second)
		if n := len(s.victim.Node().Host().Network().Conns()); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		awaitGoroutines(t, base)
		s.mustServe("after")
	})
}

// Row 9: nothing of a node reaches a subscriber before its hello has passed:
// not without one, and not beside one that is under way or refused.
func TestHostileMessageBeforeHandshake(t *testing.T) {
	other := greeting()
	other.ChainID = "other"
	for name, say := range map[string]func(a *attacker){
		"no hello": func(*attacker) {},
		"half a hello": func(a *attacker) {
			if st, err := a.NewStream(a.s.t.Context(), a.s.victim.Node().ID(), handshake.ProtocolAny); err == nil {
				st.Write([]byte{100}) // which negotiates
				time.Sleep(100 * time.Millisecond)
			}
		},
		"another chain": func(a *attacker) { a.hello(other) },
		"broken off": func(a *attacker) {
			a.enlist()
			a.control.Reset()
			a.s.event(netservice.PeerDisconnected, a.ID())
		},
		"said goodbye to": func(a *attacker) {
			a.enlist()
			a.s.victim.ClosePeer(a.ID().String(), netservice.ReasonRequested)
		},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.catchBait(func(m netservice.Received[[]byte]) { t.Errorf("got %q", m.Value) })
				a := s.attacker()
				if err := a.connect(); err != nil {
					t.Fatal(err)
				}
				say(a)
				for range 100 { // more than may wait for a handshake
					st, err := a.openNumber(1)
					if err != nil {
						continue // the victim has closed the connection
					}
					st.Write(frame(1, plain, 'x'))
					go hungUp(t, st)
				}
				time.Sleep(time.Second)
				if n := s.messageStreams(a); n > 64 || name == "half a hello" && n < 64 {
					t.Errorf("%d streams wait for the handshake", n)
				}
				if n := s.count("neb.net.streams.refused.no_session"); n == 0 && strings.HasSuffix(name, " hello") {
					t.Error("no refusal is counted")
				}
				s.mustServe("during")
				time.Sleep(time.Minute)
				if n := s.baits(); n != 0 {
					t.Errorf("%d messages", n)
				}
				if n := len(s.victim.Node().Host().Network().Conns()); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		})
	}
}

// Row 12: protocols that nobody serves here, among them message types by the names
// that they once had, are refused, and so are numbers that were never offered and
// offers of what nobody knows; none leaves a trace in the metrics.
func TestHostileNames(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.session()
		a.identified()
		s.mustServe("before")
		series := func() (n int) {
			s.victim.Metrics().Each(func(string, any) { n++ })
			return n
		}
		try := func(id protocol.ID) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if st, err := a.NewStream(ctx, s.victim.Node().ID(), id); err == nil {
				if _, err = st.Read(make([]byte, 1)); err == nil {
					t.Errorf("a stream of %.40q is open", id)
				}
				st.Reset()
			}
		}
		before := series()
		old := func(name string) protocol.ID {
			return protocol.ID("/neb/" + s.victim.Node().Network() + "/msg/" + name + "/1.0.0")
		}
		try(old("bait"))
		try(old("bait/../bait"))
		try(old(""))
		try(old(strings.Repeat("n", 64<<10)))
		try(old("line\nbreak\x1b[2J\u202e"))
		for i := range 1000 {
			try(old(fmt.Sprint("made-up-", i)))
		}
		var made []byte
		for i := range 100 {
			made = append(made, offer(byte(2+i), fmt.Sprint("made-up-", i))...)
		}
		a.control.Write(append(binary.AppendUvarint([]byte{4}, uint64(len(made))), made...))
		if n := series() - before; n > 8 {
			t.Errorf("%d new metrics", n)
		}
		s.victim.Metrics().Each(func(name string, _ any) {
			if strings.Contains(name, "made-up") || strings.Contains(name, "nnnn") || len(name) > 100 {
				t.Errorf("a peer has named a metric: %.100q", name)
			}
		})
		if n := len(s.victim.Stats().Dispatcher.Types); n > 2 {
			t.Errorf("%d types are counted", n)
		}
		s.mustServe("after")
	})
}

// Row 20: streams of one type that a peer leaves open are few, whether their
// frames never end or the handler is stuck, and hold up neither other peers nor
// other types of the same peer. What waits behind a stuck handler is no fault of
// the peer; frames that never end are.
func TestHostileStreamFlood(t *testing.T) {
	for name, faults := range map[string]int64{"frames that do not end": 6, "stuck handler": 0} {
		t.Run(name, func(t *testing.T) {
			few := func(cfg *netservice.Config) { cfg.DispatchQueue = 4 }
			besiege(t, few, func(t *testing.T, s *siege) { floodStreams(t, s, faults) })
		})
	}
}

func floodStreams(t *testing.T, s *siege, faults int64) {
	release := make(chan struct{})
	defer close(release)
	stuck := netservice.Declare("stuck", netservice.Raw(), netservice.WithSubscription(
		dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1)))
	if _, err := stuck.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) { <-release }); err != nil {
		t.Fatal(err)
	}
	s.catchBait(func(netservice.Received[[]byte]) {})
	a := s.session()
	a.identified()
	base := runtime.NumGoroutine()
	streams := func() int { return s.messageStreams(a) }
	refused := func() int64 { return s.count("neb.net.streams.refused.excess") }
	flood := func(n int) {
		for range n {
			a.open("stuck").Write(frame(1, plain))
		}
	}
	first := a.open("stuck")
	if faults > 0 {
		first.Write(frame(1, plain))
	} else {
		received := func() uint64 { return s.victim.Stats().Dispatcher.Types["stuck"].Received }
		for taken := uint64(0); ; taken = received() { // until a delivery waits for the handler
			first.Write(frame(1, plain, 'x'))
			time.Sleep(time.Second)
			if received() == taken {
				break
			}
		}
	}
	flood(2)
	testkit.Equal(t, "streams that are held", 3, streams)
	flood(6)
	testkit.Equal(t, "streams refused", 6, refused)
	if streams() != 3 {
		t.Errorf("%d streams are held", streams())
	}
	if n := s.count("neb.net.faults.streams"); n != faults {
		t.Errorf("%d faults are counted, want %d", n, faults)
	}
	a.open("bait").Write(frame(1, plain, 'x'))
	s.mustServe("during")
	testkit.Equal(t, "messages of another type of the same peer", 1, s.baits)
	flood(100)
	if faults > 0 {
		s.event(netservice.PeerBanned, a.ID())
	}
	testkit.Goroutines(t, base+40)
	s.mustServe("after")
}

// Row 20: message streams that do not say what they carry are few, and hold up
// nobody.
func TestHostileUnnamedStreams(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.session()
		a.identified()
		const opened, most = 60, 32
		for range opened {
			st, err := a.NewStream(t.Context(), s.victim.Node().ID(), s.protocol())
			if err != nil {
				t.Fatal(err)
			}
			st.Write(nil) // negotiates
			time.Sleep(20 * time.Millisecond)
		}
		testkit.Equal(t, "streams that are held", most, func() int { return s.messageStreams(a) })
		if n := s.count("neb.net.streams.refused.unnamed"); n != opened-most {
			t.Errorf("%d are refused", n)
		}
		s.mustServe("during")
		time.Sleep(2 * time.Minute)
		if n := s.messageStreams(a); n != 0 {
			t.Errorf("%d are held for ever", n)
		}
		if s.peers(a.ID()) != 1 {
			t.Error("the peer was lost")
		}
	})
}

// Row 12: streams of numbers that were never offered.
func TestHostileNumbers(t *testing.T) {
	for _, number := range []uint64{0, 1000, 1<<31 - 1, 1 << 40} {
		t.Run(fmt.Sprint(number), func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				a := s.session()
				for range 3 {
					st, err := a.openNumber(number)
					if err != nil {
						t.Fatal(err)
					}
					hungUp(t, st)
				}
				if n := s.count("neb.net.faults.number"); n != 3 {
					t.Errorf("%d faults are counted", n)
				}
				s.event(netservice.PeerBanned, a.ID())
			})
		})
	}
}

// Row 12: more offers than a peer may make, at once or a few at a time.
func TestHostileOffers(t *testing.T) {
	for _, atOnce := range []int{1000, 10} {
		t.Run(fmt.Sprint(atOnce), func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				a := s.session()
				before := live()
				for i := 0; i < 10_000; i += atOnce {
					var body []byte
					for k := range atOnce {
						number := binary.AppendUvarint(nil, uint64(2+i+k))
						entry := append(number, 1, 8)
						entry = fmt.Appendf(entry, "made%04x", i+k)
						body = append(body, append([]byte{byte(len(entry) + 2)}, append(entry, 100, 1)...)...)
					}
					if _, err := a.control.Write(append(binary.AppendUvarint([]byte{4}, uint64(len(body))), body...)); err != nil {
						break
					}
					time.Sleep(time.Duration(atOnce) * time.Millisecond) // as fast as may be
				}
				if e := s.event(netservice.PeerDisconnected, a.ID()); e.Reason != netservice.ReasonProtocol || e.ByRemote {
					t.Errorf("disconnected: %+v", e)
				}
				if n := s.count("neb.net.faults.offers"); n != 1 {
					t.Errorf("%d faults are counted", n)
				}
				time.Sleep(time.Minute)
				if n := live() - before; n > 1<<20 {
					t.Errorf("%d KiB are kept", n>>10)
				}
			})
		})
	}
}

// Row 62: a peer that offers nearly all that it may, and changes one of its offers as
// often as it may. A change costs what that one does, not what all of them do.
func TestHostileOfferChanges(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		if _, err := largeType.Subscribe(s.victim, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
			t.Fatal(err)
		}
		a := s.session()
		const large = 3 // the kind of large broadcasts
		offers := func(n int, one func(i int) (number uint64, name string, most uint64)) {
			var body []byte
			for i := range n {
				number, name, most := one(i)
				entry := append(binary.AppendUvarint(nil, number), large, byte(len(name)))
				entry = append(binary.AppendUvarint(append(entry, name...), most), 1) // taken
				body = append(append(body, byte(len(entry))), entry...)
			}
			if _, err := a.control.Write(append(binary.AppendUvarint([]byte{4}, uint64(len(body))), body...)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for part := range 4 {
			offers(1000, func(i int) (uint64, string, uint64) {
				i += part * 1000
				return uint64(2 + i), fmt.Sprintf("made%04x", i), 1 << 20
			})
		}
		before := allocated()
		for range 8 {
			offers(1000, func(i int) (uint64, string, uint64) { return 5000, largeType.Name(), uint64(1<<20 + i) })
		}
		if n := allocated() - before; n > 64<<20 {
			t.Errorf("%d MiB were allocated for 8,000 changes of one offer", n>>20)
		}
		if s.peers(a.ID()) != 1 {
			t.Error("it is no peer any more, within what it may do")
		}
		s.mustServe("after")
	})
}

// messageStreams counts the message streams of a peer that the victim holds.
func (s *siege) messageStreams(a *attacker) (n int) {
	for _, c := range s.victim.Node().Host().Network().ConnsToPeer(a.ID()) {
		for _, st := range c.GetStreams() {
			if st.Protocol() == s.protocol() {
				n++
			}
		}
	}
	return n
}

// Row 21: streams that are opened and reset at once, of every protocol that
// the service answers, leave nothing behind.
func TestHostileStorm(t *testing.T) {
	for _, kind := range []string{"hello", "bait", "exchange", "unknown", "identify"} {
		t.Run(kind, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.catchBait(func(netservice.Received[[]byte]) {})
				s.mustServe("before")
				time.Sleep(time.Minute)
				base := runtime.NumGoroutine()
				id := map[string]protocol.ID{
					"hello": handshake.ProtocolAny, "bait": s.protocol(), "unknown": "/unknown/1.0.0",
					"exchange": discovery.Protocol(s.victim.Node().Network()), "identify": identify.ID,
				}[kind]
				p := s.raw(s.address(), testnet.RawPeerConfig{})
				if n, err := p.Storm(t.Context(), id, 1200); n < 1000 {
					t.Errorf("%d rounds: %v", n, err)
				}
				s.mustServe("during")
				p.Close()
				awaitGoroutines(t, base)
				s.mustServe("after")
			})
		})
	}
}

// Row 21: a peer that opens message streams faster than it may, each long
// enough to be taken, is refused, penalised and banned.
func TestHostileStormOfPeer(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		s.catchBait(func(netservice.Received[[]byte]) {})
		s.mustServe("before")
		time.Sleep(time.Minute)
		base := runtime.NumGoroutine()
		a := s.session()
		a.identified()
		rounds := 0
		for ; rounds < 2000 && s.peers(a.ID()) == 1; rounds++ {
			if st, err := a.openNumber(s.number("bait")); err == nil {
				st.Write(frame(1, plain, 'x'))
				time.Sleep(22 * time.Millisecond)
				st.Reset()
			}
		}
		if n := s.count("neb.net.streams.refused.storm"); n < 300 {
			t.Errorf("%d of %d streams were refused", n, rounds)
		}
		s.event(netservice.PeerBanned, a.ID())
		s.mustServe("during")
		a.Close()
		awaitGoroutines(t, base)
	})
}
