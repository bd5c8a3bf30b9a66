package netservice_test

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
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
		awaitGoroutines(t, base)
	})
}

// Row 60: 66 strangers with 64 tunnel streams each, which wait for a hello that never
// comes. Undecided streams have a small pool of their own: a peer's tunnel, and that of
// a newcomer, are served at once beside them.
func TestHostileTunnelStrangers(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		l, err := s.victim.P2P().Listen(t.Context(), "/x/echo")
		if err != nil {
			t.Fatal(err)
		}
		var served sync.Map
		accepting := make(chan struct{})
		go func() {
			defer close(accepting)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				served.Store(c.RemoteAddr().String(), c)
				go io.Copy(c, c)
			}
		}()
		defer func() {
			l.Close()
			<-accepting
		}()
		// echo fails unless a tunnel of a node carries bytes both ways at once.
		echo := func(who *netservice.NebService, when string) {
			t.Helper()
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			c, err := who.P2P().DialConn(ctx, s.victim.Node().ID(), "/x/echo")
			if err != nil {
				t.Errorf("%s: %v", when, err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(3 * time.Second))
			got := make([]byte, 2)
			if _, err := c.Write([]byte("in")); err != nil {
				t.Errorf("%s: %v", when, err)
			} else if _, err := io.ReadFull(c, got); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			if d := time.Since(begin); d > time.Second {
				t.Errorf("%s: it took %s", when, d)
			}
		}
		honest := func() *netservice.NebService {
			t.Helper()
			svc := s.service(s.address(), chain())
			if err := svc.Start(); err != nil {
				t.Fatal(err)
			}
			if err := svc.ConnectPeer(t.Context(), s.addr()); err != nil {
				t.Fatalf("an honest node: %v", err)
			}
			return svc
		}
		friend := honest()
		echo(friend, "before")

		strangers := make([]*attacker, 66)
		for i := range strangers {
			strangers[i] = s.attacker()
		}
		var opened sync.WaitGroup
		var waiting, reset atomic.Int64
		for _, a := range strangers {
			opened.Go(func() {
				if a.connect() != nil {
					return
				}
				for range 64 {
					st, err := a.NewStream(t.Context(), s.victim.Node().ID(), "/x/echo")
					if err != nil {
						return
					}
					waiting.Add(1)
					go func() {
						io.Copy(io.Discard, st)
						waiting.Add(-1)
						reset.Add(1)
					}()
					st.Write([]byte("in"))
				}
			})
		}
		time.Sleep(2 * time.Second)
		if n := waiting.Load(); n < 64 || n > 512 || reset.Load() < 2000 {
			t.Errorf("%d streams of strangers wait, %d are reset", n, reset.Load())
		}
		if n := len(s.victim.P2P().Streams.List()); n > 1 {
			t.Errorf("%d streams are in the table", n)
		}
		echo(friend, "beside them")
		echo(honest(), "a newcomer")
		opened.Wait()
		time.Sleep(time.Minute)
		for _, a := range strangers {
			if _, in := served.Load(a.ID().String()); in {
				t.Errorf("%s is served", a.ID())
			}
		}
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
