package netservice_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

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

// The side that was dialled pings an idle session a second later than the other
// one, from the first ping on: one of the two is enough.
func TestAcceptingSidePingsLater(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.member()
		began := time.Now()
		r := bufio.NewReader(a.control)
		var at []time.Duration
		for len(at) < 2 {
			kind, body, err := nextFrame(r)
			if err != nil {
				t.Fatal(err)
			}
			if kind == 1 {
				at = append(at, time.Since(began))
				a.control.Write(append([]byte{2, 8}, body...))
			}
		}
		if at[0] > 100*time.Millisecond {
			t.Errorf("the round trip is measured after %s", at[0])
		}
		// Other protocols of the connection may have given signs of life meanwhile.
		if at[1] < 4*time.Second || at[1] > 12*time.Second {
			t.Errorf("the first idle ping comes after %s", at[1])
		}
	})
}
