package netservice_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

var (
	slowBulk = netservice.Declare("bulk", netservice.Raw(), netservice.MaxSize(4<<20), netservice.WithPriority(netservice.PriorityLow))
	slowCast = netservice.Declare("cast", netservice.Raw(), netservice.MaxSize(2<<20))
	slowVote = netservice.Declare("vote", netservice.Raw(), netservice.WithPriority(netservice.PriorityHigh))
)

// slowLine is two nodes, of which b has a line of so many bits a second.
type slowLine struct {
	a, b *nettest.Node

	mu    sync.Mutex // guards the fields below
	ended []string
	whole int // tunnel connections, broadcasts, messages
	voted chan struct{}
}

const slowLatency = 40 * time.Millisecond

func newSlowLine(t *testing.T, bits int64) *slowLine {
	log := logrus.New()
	log.SetOutput(io.Discard)
	nw := nettest.New(t, nettest.WithLink(nettest.Link{Latency: slowLatency}))
	s := &slowLine{voted: make(chan struct{}, 1)}
	s.a = nw.Add(netservice.Config{ChainID: "c"}, netservice.WithLogger(log))
	s.b = nw.Add(netservice.Config{ChainID: "c", Bootstrap: []string{s.a.Addr()}}, netservice.WithLogger(log))
	arrived := func(context.Context, netservice.Received[[]byte]) {
		s.mu.Lock()
		s.whole++
		s.mu.Unlock()
	}
	none := func(context.Context, netservice.Received[[]byte]) {}
	slowBulk.Subscribe(s.a.Service(), arrived)
	slowCast.Subscribe(s.a.Service(), arrived)
	slowCast.Subscribe(s.b.Service(), none)
	slowVote.Subscribe(s.a.Service(), func(context.Context, netservice.Received[[]byte]) { s.voted <- struct{}{} })
	nw.Start()
	s.a.WaitForPeers(1)
	s.b.WaitForPeers(1)
	time.Sleep(5 * time.Second)
	nw.SetBandwidth(s.b, nettest.Bandwidth{Up: bits, Down: bits})
	for name, n := range map[string]*nettest.Node{"a": s.a, "b": s.b} {
		events := n.Service().SubscribePeers(netservice.PeerDisconnected)
		go func() {
			for e := range events.Events() {
				s.mu.Lock()
				s.ended = append(s.ended, fmt.Sprintf("%s lost its session: %v", name, e.Reason))
				s.mu.Unlock()
			}
		}()
	}
	return s
}

func slowBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// tunnels sends 4 MiB through so many connections of a tunnel.
func (s *slowLine) tunnels(t *testing.T, conns int) {
	ln, err := s.a.Service().P2P().Listen(t.Context(), "/x/bulk")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				if n, err := io.Copy(io.Discard, c); err == nil && n == int64(4<<20/conns) {
					s.mu.Lock()
					s.whole++
					s.mu.Unlock()
				}
				c.Close()
			}()
		}
	}()
	for range conns {
		go func() {
			c, err := s.b.Service().P2P().DialConn(t.Context(), s.a.ID(), "/x/bulk")
			if err != nil {
				t.Error(err)
				return
			}
			c.Write(slowBytes(4 << 20 / conns))
			c.Close()
		}()
	}
}

// TestSlowLine: over a slow line everything arrives whole, no session ends, nobody is
// blamed, and a small message of high priority waits for hardly anything.
func TestSlowLine(t *testing.T) {
	loads := []struct {
		name  string
		count int
		begin func(t *testing.T, s *slowLine)
	}{
		{"one tunnel", 1, func(t *testing.T, s *slowLine) { s.tunnels(t, 1) }},
		{"20 tunnels", 20, func(t *testing.T, s *slowLine) { s.tunnels(t, 20) }},
		{"three broadcasts", 3, func(t *testing.T, s *slowLine) {
			for i := range 3 {
				if err := slowCast.Broadcast(t.Context(), s.b.Service(), slowBytes(1<<20-i)); err != nil {
					t.Error(err)
				}
			}
		}},
		{"one message", 1, func(t *testing.T, s *slowLine) {
			if err := slowBulk.Send(t.Context(), s.b.Service(), s.a.ID(), slowBytes(4<<20)); err != nil {
				t.Error(err)
			}
		}},
	}
	for _, bits := range []int64{256e3, 1e6, 10e6} {
		for _, load := range loads {
			t.Run(fmt.Sprintf("%dkbit/%s", bits/1000, load.name), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // golang/go#78156
				synctest.Test(t, func(t *testing.T) {
					s := newSlowLine(t, bits)
					began := time.Now()
					load.begin(t, s)
					var took []time.Duration
					line := time.Duration(4<<20) * 8 * time.Second / time.Duration(bits)
					for time.Since(began) < line+line/2+10*time.Second && !s.done(load.count) {
						sent := time.Now()
						if err := slowVote.Send(t.Context(), s.b.Service(), s.a.ID(), slowBytes(100)); err != nil {
							t.Fatal(err)
						}
						<-s.voted
						took = append(took, time.Since(sent))
						time.Sleep(100 * time.Millisecond)
					}
					t.Logf("after %s (%s of the line)", time.Since(began).Round(time.Second), line.Round(time.Second))
					if !s.done(load.count) {
						t.Errorf("%d of %d have arrived after %s", s.whole, load.count, time.Since(began))
					}
					slices.Sort(took)
					p99, most := took[len(took)*99/100], 4*2*slowLatency+time.Duration(64<<10*8)*time.Second/time.Duration(bits)
					t.Logf("small messages: p50 %s, p99 %s of %s", took[len(took)/2], p99, most)
					if p99 > most {
						t.Errorf("a small message took %s, at most %s", p99, most)
					}
					s.blameless(t)
				})
			})
		}
	}
}

func (s *slowLine) done(count int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole == count
}

func (s *slowLine) blameless(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ended {
		t.Error(e)
	}
	for _, x := range [][2]*nettest.Node{{s.a, s.b}, {s.b, s.a}} {
		for id, p := range x[0].Service().Stats().Peers {
			if p.Receive.Faults > 0 || len(p.Send.Dropped) > 0 {
				t.Errorf("%s: %d faults, dropped %v", id, p.Receive.Faults, p.Send.Dropped)
			}
		}
	}
}
