package netservice_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/testnet"
	"github.com/go-nebnet/nebnet/netservice"
)

// Rows 7 and 8: a node of another version, chain or genesis. Both sides know
// why they part, neither keeps the other in its address book, and the dialler
// waits long before it tries again, even for a boot node.
func TestHostileStrangers(t *testing.T) {
	for reason, change := range map[netservice.DisconnectReason]func(*netservice.Config){
		netservice.ReasonWrongVersion: func(c *netservice.Config) { c.MinVersion, c.MaxVersion = 7, 9 },
		netservice.ReasonWrongChain:   func(c *netservice.Config) { c.ChainID = "other" },
		netservice.ReasonWrongGenesis: func(c *netservice.Config) { c.Genesis = "02" },
	} {
		for _, boot := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, boot %v", reason.Label(), boot), func(t *testing.T) {
				besiege(t, nil, func(t *testing.T, s *siege) {
					cfg := chain()
					change(&cfg)
					if boot {
						cfg.Bootstrap = []string{s.addr()}
					}
					stranger := s.service(s.address(), cfg)
					if err := stranger.Start(); err != nil {
						t.Fatal(err)
					}
					if !boot {
						err := stranger.ConnectPeer(t.Context(), s.addr())
						if re, ok := errors.AsType[*netservice.RefusedError](err); !ok || re.Reason != reason {
							t.Errorf("connect: %v", err)
						}
					}
					if e := s.event(netservice.PeerRefused, stranger.Node().ID()); e.Reason != reason {
						t.Errorf("event: %+v", e)
					}
					time.Sleep(10 * time.Second)
					for who, svc := range map[string]*netservice.NebService{"the victim": s.victim, "the stranger": stranger} {
						other := s.victim.Node().ID()
						if svc == s.victim {
							other = stranger.Node().ID()
						}
						h := svc.Node().Host()
						if a := h.Peerstore().Addrs(other); len(a) != 0 || len(h.Network().Conns()) != 0 {
							t.Errorf("%s remembers %v and has %v", who, a, h.Network().Conns())
						}
					}
					time.Sleep(time.Hour)
					met := s.count("neb.net.handshake.refused."+reason.Label()) + s.count("neb.net.handshake.refused_by_peer."+reason.Label())
					if most := int64(6); met > most || !boot && met != 1 {
						t.Errorf("they met %d times in an hour", met)
					}
				})
			})
		}
	}
}

// Hellos that are none, that lie, or that never end: the connection goes
// within the handshake timeout, nothing is allocated for a length, and there
// is no session.
func TestHostileHellos(t *testing.T) {
	raw := func(b []byte) func(context.Context, network.Stream) {
		return func(_ context.Context, st network.Stream) { st.Write(b) }
	}
	for name, tc := range map[string]struct {
		reason netservice.DisconnectReason
		say    func(context.Context, network.Stream)
	}{
		"nothing":          {netservice.ReasonTimeout, raw(nil)},
		"a length of 2^63": {netservice.ReasonProtocol, raw(frame(1<<63, 0))},
		"64 KiB and one":   {netservice.ReasonProtocol, raw(frame(64<<10+1, 0))},
		"noise":            {netservice.ReasonProtocol, raw(append([]byte{200, 1}, bytes.Repeat([]byte{0xff}, 200)...))},
		"empty":            {netservice.ReasonProtocol, raw([]byte{0})},
		"an accept":        {netservice.ReasonProtocol, raw([]byte{4, 0x1a, 2, 8, 1})},
		"cut short":        {netservice.ReasonTransportLost, func(_ context.Context, st network.Stream) { st.Write([]byte{100, 1, 2, 3}); st.CloseWrite() }},
		"drop by drop": {netservice.ReasonTimeout, func(ctx context.Context, st network.Stream) {
			testnet.Drip(ctx, st, frame(100, 0, make([]byte, 99)...), 3*time.Second)
		}},
		"no accept": {netservice.ReasonTimeout, func(ctx context.Context, st network.Stream) {
			go handshake.Open(ctx, mute{st}, greeting(), nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				a := s.attacker()
				if err := a.connect(); err != nil {
					t.Fatal(err)
				}
				st, err := a.NewStream(t.Context(), s.victim.Node().ID(), handshake.ProtocolAny)
				if err != nil {
					t.Fatal(err)
				}
				before := allocated()
				st.Write(nil)
				tc.say(t.Context(), st)
				e := s.event(netservice.PeerRefused, a.ID())
				if e.Reason != tc.reason {
					t.Errorf("event: %+v", e)
				}
				if n := s.count("neb.net.handshake.refused." + tc.reason.Label()); n != 1 {
					t.Errorf("%d refusals are counted", n)
				}
				if n := allocated() - before; n > 8<<20 {
					t.Errorf("%d MiB were allocated", n>>20)
				}
				time.Sleep(time.Second)
				if s.conns() != 0 || len(s.victim.Peers()) != 0 {
					t.Errorf("%d connections, peers %v", s.conns(), s.victim.Peers())
				}
				s.mustServe("after")
			})
		})
	}
}

// mute is a stream whose writer stops after the first frame.
type mute struct{ network.Stream }

func (m mute) Write(b []byte) (int, error) {
	if len(b) > 1 && b[1] == 3<<3|2 { // an accept: field 3 of the frame
		return len(b), nil
	}
	return m.Stream.Write(b)
}

// Row 19: a peer that says hello again and again, as a new instance each time,
// on the connection of its session or on new ones from many addresses. It may
// replace its own session, but not as fast as it likes.
func TestHostileHelloStorm(t *testing.T) {
	for name, anew := range map[string]bool{"one connection": false, "many addresses": true} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				s.mustServe("before")
				base := runtime.NumGoroutine()
				a := s.session()
				key := a.Peerstore().PrivKey(a.ID())
				in, limited, hello := 0, 0, greeting()
				begin := time.Now()
				for i := range 50 {
					if anew {
						a.Close()
						a = s.attacker(libp2p.Identity(key))
						a.connect()
					}
					hello.Instance = uint64(i + 2)
					st, err := a.hello(hello)
					switch {
					case err == nil:
						in++
						go s.attend(st, true)
					case errors.Is(err, netservice.ReasonRateLimited):
						limited++
					}
				}
				if d := time.Since(begin); float64(in) > 16+d.Seconds()/2 {
					t.Errorf("%d sessions in %s", in, d)
				}
				if anew && limited == 0 {
					t.Error("the peer was not told that it is too fast")
				}
				s.mustServe("after")
				a.Close()
				awaitGoroutines(t, base)
			})
		})
	}
}

// Row 19: hellos that are begun on one connection and not finished. Few are under way
// at a time.
func TestHostileHellosOnOneConnection(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.attacker()
		if err := a.connect(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			st, err := a.NewStream(t.Context(), s.victim.Node().ID(), handshake.ProtocolAny)
			if err != nil {
				t.Fatal(err)
			}
			st.Write(nil) // negotiates
		}
		time.Sleep(time.Second)
		under := 0
		for _, c := range s.victim.Node().Host().Network().ConnsToPeer(a.ID()) {
			for _, st := range c.GetStreams() {
				if st.Protocol() == handshake.ProtocolAny {
					under++
				}
			}
		}
		if under != 4 {
			t.Errorf("%d hellos are under way", under)
		}
		s.mustServe("during")
	})
}

// Row 13: control, bidirectional and line-breaking characters in whatever a
// peer says of itself. They reach neither the log nor the metrics nor the
// user, and no text is longer than it may be.
func TestHostileTexts(t *testing.T) {
	const evil = "ev\nil\r\x1b[2J\x00\u202e\u2028\u0085\ufeff"
	long := evil + strings.Repeat("x", handshake.MaxAgent-len(evil))
	log := &logbook{}
	logger := logrus.New()
	logger.SetLevel(logrus.TraceLevel)
	logger.SetOutput(log)
	logger.SetFormatter(careless{})
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.attacker(libp2p.UserAgent(long))
		hello := greeting()
		hello.Agent = long
		if err := a.connect(); err != nil {
			t.Fatal(err)
		}
		st, err := a.hello(hello)
		if err != nil {
			t.Fatal(err)
		}
		go s.attend(st, true)
		s.event(netservice.PeerConnected, a.ID())
		a.identified()
		info := s.victim.Peers()[0]
		if fit(info.Agent) != nil || len(info.Agent) == 0 {
			t.Errorf("agent %q", info.Agent)
		}
		a.open("bait").Write(frame(1<<40, plain))
		for _, h := range []handshake.Hello{
			{VersionMin: 1, VersionMax: 1, ChainID: evil + strings.Repeat("y", 128-len(evil)), Agent: long},
			{VersionMin: 5, VersionMax: 9, ChainID: "test", Genesis: []byte{1}, Agent: long, Payload: []byte(evil)},
		} {
			b := s.attacker(libp2p.UserAgent(long))
			if err := b.connect(); err != nil {
				t.Fatal(err)
			}
			b.hello(h)
			s.event(netservice.PeerRefused, b.ID())
		}
		// What the victim is refused with is text of the peer as well.
		server := s.attacker()
		server.SetStreamHandler(handshake.ProtocolAny, func(st network.Stream) {
			handshake.Answer(t.Context(), st, handshake.Hello{VersionMin: 1, VersionMax: 1, ChainID: evil, Agent: long}, nil)
		})
		err = s.victim.ConnectPeer(t.Context(), server.Addrs()[0].String()+"/p2p/"+server.ID().String())
		if !errors.Is(err, netservice.ReasonWrongChain) {
			t.Errorf("connect: %v", err)
		} else if e := fit(err.Error()); e != nil {
			t.Errorf("error %q: %v", err, e)
		}
		time.Sleep(time.Minute)
		s.victim.Metrics().Each(func(name string, _ any) {
			if err := fit(name); err != nil {
				t.Errorf("metric %q: %v", name, err)
			}
		})
		lines := log.take()
		if len(lines) < 5 {
			t.Errorf("only %d lines were logged", len(lines))
		}
		for _, l := range lines {
			if err := printable(l); err != nil {
				t.Errorf("log %q: %v", l, err)
			}
		}
	}, netservice.WithLogger(logger))
}

// fit tells what is wrong with a text that is shown.
func fit(text string) error {
	if len(text) > 200 {
		return fmt.Errorf("has %d bytes", len(text))
	}
	return printable(text)
}

func printable(text string) error {
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("holds %q", r)
		}
	}
	return nil
}

// careless writes a log entry without quoting, as a careless formatter would.
type careless struct{}

func (careless) Format(e *logrus.Entry) ([]byte, error) {
	return fmt.Append(nil, e.Level, " ", e.Message, " ", map[string]any(e.Data)), nil
}

// logbook keeps each entry.
type logbook struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

func (l *logbook) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}
