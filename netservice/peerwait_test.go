package netservice_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// delayed is a stream of a handshake whose accept waits for the test.
type delayed struct {
	network.Stream
	release chan struct{}
}

func (h delayed) Write(b []byte) (int, error) {
	if len(b) > 1 && b[1] == 3<<3|2 { // an accept
		<-h.release
	}
	return h.Stream.Write(b)
}

// halfway begins a handshake with the victim and stops short of its accept.
func (a *attacker) halfway() (st network.Stream, release func()) {
	a.s.t.Helper()
	if err := a.connect(); err != nil {
		a.s.t.Fatal(err)
	}
	st, err := a.NewStream(a.s.t.Context(), a.s.victim.Node().ID(), handshake.ProtocolAny)
	if err != nil {
		a.s.t.Fatal(err)
	}
	h := delayed{st, make(chan struct{})}
	go func() {
		if _, err := handshake.Open(a.s.t.Context(), h, greeting(), nil); err == nil {
			st.Write(firstOffers())
		}
	}()
	time.Sleep(time.Second)
	return st, func() { close(h.release) }
}

// numberOfText is the victim's: types that are known at the start have theirs by
// name, and "bait" comes before.
const numberOfText = 2

// What a peer sends before this side has read the end of its handshake waits for
// that end: it is delivered once there is a session, and reset when none comes of
// it. How many streams wait is bounded.
func TestMessagesWaitForTheHandshake(t *testing.T) {
	for _, passes := range []bool{true, false} {
		besiege(t, nil, func(t *testing.T, s *siege) {
			a := s.attacker()
			st, release := a.halfway()
			early, err := a.openNumber(numberOfText)
			if err != nil {
				t.Fatal(err)
			}
			early.Write(frame(5, plain, []byte("early")...))
			time.Sleep(time.Second)
			if len(s.texts) != 0 {
				t.Fatal("delivered before the handshake")
			}
			if passes {
				release()
				if got := next(t, "early message", s.texts); got != "early" {
					t.Errorf("got %q", got)
				}
				go s.attend(st, true)
				return
			}
			began := time.Now()
			st.Reset()
			release()
			if _, err := io.Copy(io.Discard, early); err == nil || time.Since(began) > time.Second {
				t.Errorf("ended after %s with %v", time.Since(began), err)
			}
		})
	}
}

func TestStreamsThatWaitAreBounded(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		a := s.attacker()
		_, release := a.halfway()
		const opened, most = 100, 64
		var streams []network.Stream
		for range opened {
			st, err := a.openNumber(numberOfText)
			if err != nil {
				t.Fatal(err)
			}
			st.Write(frame(1, plain, 'x'))
			streams = append(streams, st)
		}
		time.Sleep(time.Second)
		waiting := 0
		for _, st := range streams {
			st.SetReadDeadline(time.Now())
			if _, err := io.Copy(io.Discard, st); timedOut(err) {
				waiting++
			}
		}
		if waiting != most {
			t.Errorf("%d of %d streams wait, want %d", waiting, opened, most)
		}
		release()
	})
}

func timedOut(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
