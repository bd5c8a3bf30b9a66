package netservice_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/p2p"
)

// Row 30, from one who is no peer: of a flood of tunnel streams few wait for a
// handshake, and none gets in. A peer's tunnel goes on beside it.
func TestHostileTunnelFlood(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		served := make(chan string, 1000)
		l, err := s.victim.P2P().Listen(t.Context(), "/x/echo")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				served <- c.RemoteAddr().String()
				c.Close()
			}
		}()
		defer l.Close()
		friend := s.service(s.address(), chain())
		if err := friend.Start(); err != nil {
			t.Fatal(err)
		}
		if err := friend.ConnectPeer(t.Context(), s.addr()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		base := runtime.NumGoroutine()

		flooder := s.attacker()
		if err := flooder.connect(); err != nil {
			t.Fatal(err)
		}
		go flooder.flood(t.Context(), 500)
		time.Sleep(time.Second)
		waiting := 0
		for _, c := range s.victim.Node().Host().Network().ConnsToPeer(flooder.ID()) {
			waiting += len(c.GetStreams())
		}
		if waiting > 80 {
			t.Errorf("%d streams of a stranger wait", waiting)
		}
		c, err := friend.P2P().DialConn(t.Context(), s.victim.Node().ID(), "/x/echo")
		if err != nil {
			t.Fatalf("a peer during the flood: %v", err)
		}
		defer c.Close()
		if got := next(t, "a connection", served); got != friend.Node().ID().String() {
			t.Errorf("served %s", got)
		}
		time.Sleep(time.Minute)
		if len(served) > 0 {
			t.Errorf("served %s", <-served)
		}
		flooder.Close()
		settled(t, base)
	})
}

// One who is no peer does not get in either where a tunnel has a rule of its own
// for whom it admits.
func TestHostileTunnelThatAdmitsAll(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		l, err := s.victim.P2P().Listen(t.Context(), "/x/echo", p2p.WithAdmitFunc(func(peer.ID) bool { return true }))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		stranger := s.attacker()
		if err := stranger.connect(); err != nil {
			t.Fatal(err)
		}
		stranger.flood(t.Context(), 1)
		time.Sleep(time.Minute)
		if l := s.victim.P2P().Listeners.List()[0]; l.Accepted != 0 || l.Refused != 1 {
			t.Errorf("%d streams accepted, %d refused", l.Accepted, l.Refused)
		}
	})
}

// flood opens tunnel streams and says what it wants on each.
func (a *attacker) flood(ctx context.Context, streams int) {
	for range streams {
		st, err := a.NewStream(ctx, a.s.victim.Node().ID(), "/x/echo")
		if err != nil {
			return
		}
		if _, err := st.Write([]byte("in")); err != nil {
			continue
		}
	}
}
