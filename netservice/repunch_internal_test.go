package netservice

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// A wait doubles from try to try, up to an hour; news bring a try forward, though not
// without end.
func TestPunchPlan(t *testing.T) {
	now := time.Unix(1000, 0)
	var p punchPlan
	for i, most := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute} {
		low, high := p.next(now, 0), p.next(now, 0.999)
		if d := low.due.Sub(now); d != most/2 {
			t.Errorf("wait %d is at least %v, want %v", i, d, most/2)
		}
		if d := high.due.Sub(now); d <= most*9/10 || d > most {
			t.Errorf("wait %d is at most %v, want %v", i, d, most)
		}
		p = low
	}
	for range 100 {
		p = p.next(now, 0)
	}
	if d := p.due.Sub(now); d != 30*time.Minute {
		t.Errorf("the longest wait is at least %v", d)
	}
	for after, want := range map[time.Duration]time.Duration{time.Second: punchNews, time.Hour / 4: time.Hour / 4, time.Hour / 2: time.Hour / 2} {
		if s := p.sooner(now.Add(after)); s.due.Sub(now) != want || s.tries != p.tries {
			t.Errorf("news after %v: due after %v, want %v", after, s.due.Sub(now), want)
		}
	}
	if s := p.sooner(now.Add(time.Hour)); !s.due.Equal(p.due) {
		t.Error("news put a try off")
	}
}

// fakeConn is a connection as far as repunch looks at it.
type fakeConn struct {
	network.Conn
	id   peer.ID
	addr ma.Multiaddr
	dir  network.Direction
}

func (c *fakeConn) RemotePeer() peer.ID           { return c.id }
func (c *fakeConn) RemoteMultiaddr() ma.Multiaddr { return c.addr }
func (c *fakeConn) Stat() network.ConnStats {
	return network.ConnStats{Stats: network.Stats{Direction: c.dir}}
}

// Of the sessions those are tried that go through a relay and whose other side has
// dialled, once at a time, less and less often; and soon after news.
func TestRepunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		through := ma.StringCast("/ip4/1.2.3.4/udp/1/quic-v1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC/p2p-circuit")
		in := &fakeConn{id: "in", addr: through, dir: network.DirInbound}
		out := &fakeConn{id: "out", addr: through, dir: network.DirOutbound}
		straight := &fakeConn{id: "straight", addr: ma.StringCast("/ip4/1.2.3.4/tcp/1"), dir: network.DirInbound}
		conns := []network.Conn{in, out, straight}
		tries := make(chan peer.ID, 1000)
		end := make(chan error, 1000)
		r := newRepunch(rand.New(rand.NewPCG(1, 2)))
		r.direct = func(p peer.ID) error { tries <- p; return <-end }
		able := true
		count := func(d time.Duration) (n int) {
			for until := time.Now().Add(d); time.Now().Before(until); {
				time.Sleep(sweepEvery)
				r.look(able, conns, time.Now())
				synctest.Wait()
				for len(tries) > 0 {
					if p := <-tries; p != "in" {
						t.Errorf("%s is tried", p)
					}
					n++
				}
			}
			return n
		}
		able = false
		if n := count(time.Hour); n != 0 {
			t.Errorf("tried %d times without an address of its own", n)
		}
		able = true
		if n := count(10 * time.Minute); n != 1 {
			t.Errorf("tried %d times at once", n)
		}
		for range 100 {
			end <- errors.New("missed")
		}
		if n := count(time.Hour); n < 4 || n > 8 {
			t.Errorf("tried %d times in an hour", n)
		}
		for _, who := range []peer.ID{"in", ""} {
			time.Sleep(punchNews)
			r.changed(who)
			if n := count(time.Minute); n != 1 {
				t.Errorf("news of %q: tried %d times", who, n)
			}
		}
		r.changed("out")
		if n := count(time.Minute); n != 0 {
			t.Errorf("news of another peer: tried %d times", n)
		}
		conns = conns[1:]
		if n := count(24 * time.Hour); n != 0 || len(r.plans) != 0 {
			t.Errorf("tried %d times after the session", n)
		}
		r.wg.Wait()
	})
}
