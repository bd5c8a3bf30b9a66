package netservice_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/netservice"
)

// nextFrame reads a control frame.
func nextFrame(r *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r, body)
	return kind, body, err
}

// farewell reads the control stream to its goodbye, answering nothing.
func (a *attacker) farewell() error {
	r := bufio.NewReader(a.control)
	for {
		kind, body, err := nextFrame(r)
		switch {
		case err != nil:
			return err
		case kind == 4:
			a.s.learn(body)
		case kind == 3:
			a.control.Close()
			return netservice.DisconnectReason(binary.BigEndian.Uint16(body))
		}
	}
}

// member is an attacker with a session whose control stream the test reads itself.
func (s *siege) member() *attacker {
	s.t.Helper()
	a := s.attacker()
	err := a.connect()
	if err == nil {
		a.control, err = a.hello(greeting())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// A peer that violates the protocol, or answers no pings, is told why it is
// parted from, also while it sends as much as it can on every stream.
func TestHostileOffenderLearnsWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  netservice.DisconnectReason
		offends bool
		flood   bool
	}{
		"violation":             {netservice.ReasonProtocol, true, false},
		"violation under load":  {netservice.ReasonProtocol, true, true},
		"no answer to any ping": {netservice.ReasonPingTimeout, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				for range 10 {
					a := s.member()
					s.event(netservice.PeerConnected, a.ID())
					learned := make(chan error, 1)
					go func() { learned <- a.farewell() }()
					if tc.flood {
						go flood(a.open("bait"))
					}
					if tc.offends {
						a.control.Write(ping())
						a.control.Write([]byte{1, 3, 1, 2, 3}) // a ping has eight bytes
						if tc.flood {
							go flood(a.control)
						}
					}
					if err := next(t, "goodbye", learned); err != tc.reason {
						t.Errorf("learned %v", err)
					}
					a.Close()
				}
			})
		})
	}
}

func ping() []byte { return []byte{1, 8, 0, 0, 0, 0, 0, 0, 0, 0} }

// flood writes until the stream ends.
func flood(st network.Stream) {
	body := make([]byte, 32<<10)
	b := frame(uint64(len(body)), plain, body...)
	for {
		if _, err := st.Write(b); err != nil {
			return
		}
	}
}

// Of an idle session the side that answered the hello pings, within 3 s, and the other
// one only when nothing has come for 4: one of the two is enough. Both begin with a
// ping that measures the round trip.
func TestOneSidePingsAnIdleSession(t *testing.T) {
	for name, tc := range map[string]struct {
		dialled     bool // the victim is
		least, most time.Duration
	}{
		"the side that was dialled": {true, 1900 * time.Millisecond, 3100 * time.Millisecond},
		"the other side":            {false, 4 * time.Second, 4100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			besiege(t, nil, func(t *testing.T, s *siege) {
				var control network.Stream
				if tc.dialled {
					control = s.member().control
				} else {
					a := s.attacker()
					answered := make(chan network.Stream, 1)
					a.SetStreamHandler(handshake.ProtocolAny, func(st network.Stream) {
						if _, err := handshake.Answer(t.Context(), st, greeting(), nil); err == nil {
							st.Write(firstOffers())
							answered <- st
						}
					})
					if err := s.victim.ConnectPeer(t.Context(), a.Addrs()[0].String()+"/p2p/"+a.ID().String()); err != nil {
						t.Fatal(err)
					}
					control = next(t, "hello", answered)
				}
				began := time.Now()
				r := bufio.NewReader(control)
				var pings []time.Duration
				for time.Since(began) < 3*time.Minute {
					kind, body, err := nextFrame(r)
					if err != nil {
						t.Fatal(err)
					}
					if kind == 1 {
						pings = append(pings, time.Since(began))
						control.Write(append([]byte{2, 8}, body...))
					}
				}
				if pings[0] > 100*time.Millisecond {
					t.Errorf("the round trip is measured after %s", pings[0])
				}
				// Other protocols of the connection give signs of life, too, which put a
				// ping off; nothing brings one forward.
				gap := time.Hour
				for i, at := range pings[1:] {
					gap = min(gap, at-pings[i])
				}
				if gap < tc.least || gap > tc.most {
					t.Errorf("a ping comes %s after the last", gap)
				}
			})
		})
	}
}
