package netservice_test

import (
	"bytes"
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

// slowLine is two services, of which b has a line of so many bits a second to a.
type slowLine struct {
	a, b *netservice.NebService
	bits int64
	trip time.Duration // the round trip of the line

	mu    sync.Mutex // guards the fields below
	ended []string
	whole int // tunnel connections, broadcasts, messages
	voted chan struct{}
}

const slowLatency = 40 * time.Millisecond

// newSlowLine is a slow line in virtual time.
func newSlowLine(t *testing.T, bits int64) *slowLine {
	log := logrus.New()
	log.SetOutput(io.Discard)
	nw := nettest.New(t, nettest.WithLink(nettest.Link{Latency: slowLatency}))
	a := nw.Add(netservice.Config{ChainID: "c"}, netservice.WithLogger(log))
	b := nw.Add(netservice.Config{ChainID: "c", Bootstrap: []string{a.Addr()}}, netservice.WithLogger(log))
	s := &slowLine{a: a.Service(), b: b.Service(), bits: bits, trip: 2 * slowLatency}
	s.subscribe(t)
	nw.Start()
	a.WaitForPeers(1)
	b.WaitForPeers(1)
	time.Sleep(5 * time.Second)
	nw.SetBandwidth(b, nettest.Bandwidth{Up: bits, Down: bits})
	s.watch()
	return s
}

// subscribe counts what arrives whole. It comes before the services are started.
func (s *slowLine) subscribe(t *testing.T) {
	s.voted = make(chan struct{}, 1)
	arrived := func(_ context.Context, m netservice.Received[[]byte]) { s.arrived(m.Value) }
	none := func(context.Context, netservice.Received[[]byte]) {}
	for _, sub := range []struct {
		of   *netservice.Type[[]byte]
		svc  *netservice.NebService
		take func(context.Context, netservice.Received[[]byte])
	}{
		{slowBulk, s.a, arrived}, {slowCast, s.a, arrived}, {slowCast, s.b, none},
		{slowVote, s.a, func(context.Context, netservice.Received[[]byte]) { s.voted <- struct{}{} }},
	} {
		if _, err := sub.of.Subscribe(sub.svc, sub.take); err != nil {
			t.Fatal(err)
		}
	}
}

// arrived notes a load that has come, and that it is what was sent.
func (s *slowLine) arrived(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(data, slowBytes(len(data))) {
		s.ended = append(s.ended, fmt.Sprintf("%d bytes are not those that were sent", len(data)))
	}
	s.whole++
}

// watch notes sessions that end.
func (s *slowLine) watch() {
	for name, svc := range map[string]*netservice.NebService{"a": s.a, "b": s.b} {
		events := svc.SubscribePeers(netservice.PeerDisconnected)
		go func() {
			for e := range events.Events() { // ends with the service
				s.mu.Lock()
				s.ended = append(s.ended, fmt.Sprintf("%s lost its session: %v", name, e.Reason))
				s.mu.Unlock()
			}
		}()
	}
}

func slowBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// tunnels sends 4 MiB through so many connections of a tunnel.
func (s *slowLine) tunnels(t *testing.T, conns int) {
	ln, err := s.a.P2P().Listen(t.Context(), "/x/bulk")
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
				if data, err := io.ReadAll(c); err == nil && len(data) == 4<<20/conns {
					s.arrived(data)
				}
				c.Close()
			}()
		}
	}()
	for range conns {
		go func() {
			c, err := s.b.P2P().DialConn(t.Context(), s.a.Node().ID(), "/x/bulk")
			if err != nil {
				t.Error(err)
				return
			}
			c.Write(slowBytes(4 << 20 / conns))
			c.Close()
		}()
	}
}

// slowRates and slowLoads are what a slow line is tried with, each with each.
var (
	slowRates = []int64{256e3, 1e6, 10e6}
	slowLoads = []struct {
		name  string
		count int
		begin func(t *testing.T, s *slowLine)
	}{
		{"one tunnel", 1, func(t *testing.T, s *slowLine) { s.tunnels(t, 1) }},
		{"20 tunnels", 20, func(t *testing.T, s *slowLine) { s.tunnels(t, 20) }},
		{"three broadcasts", 3, func(t *testing.T, s *slowLine) {
			for i := range 3 {
				if err := slowCast.Broadcast(t.Context(), s.b, slowBytes(1<<20-i)); err != nil {
					t.Error(err)
				}
			}
		}},
		{"one message", 1, func(t *testing.T, s *slowLine) {
			if err := slowBulk.Send(t.Context(), s.b, s.a.Node().ID(), slowBytes(4<<20)); err != nil {
				t.Error(err)
			}
		}},
	}
)

// TestSlowLine: over a slow line everything arrives whole, no session ends, nobody is
// blamed, and a small message of high priority waits for hardly anything.
func TestSlowLine(t *testing.T) {
	for _, bits := range slowRates {
		for _, load := range slowLoads {
			t.Run(fmt.Sprintf("%dkbit/%s", bits/1000, load.name), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // golang/go#78156
				synctest.Test(t, func(t *testing.T) {
					s := newSlowLine(t, bits)
					load.begin(t, s)
					s.vote(t, load.count)
				})
			})
		}
	}
}

// vote sends small messages, ten a second, until so many loads have arrived, and
// judges how long they took.
func (s *slowLine) vote(t *testing.T, loads int) {
	began := time.Now()
	line := time.Duration(4<<20) * 8 * time.Second / time.Duration(s.bits)
	limit := line + line/2 + 10*time.Second
	var took []time.Duration
	for time.Since(began) < limit && !s.done(loads) {
		sent := time.Now()
		if err := slowVote.Send(t.Context(), s.b, s.a.Node().ID(), slowBytes(100)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.voted:
		case <-time.After(limit):
			t.Fatal("a small message has not arrived")
		}
		took = append(took, time.Since(sent))
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("after %s (%s of the line)", time.Since(began).Round(time.Second), line.Round(time.Second))
	if !s.done(loads) {
		t.Errorf("not all of %d have arrived after %s", loads, time.Since(began))
	}
	slices.Sort(took)
	p99, most := took[len(took)*99/100], 4*s.trip+time.Duration(64<<10*8)*time.Second/time.Duration(s.bits)
	t.Logf("small messages: p50 %s, p99 %s of %s", took[len(took)/2], p99, most)
	if p99 > most {
		t.Errorf("a small message took %s, at most %s", p99, most)
	}
	s.blameless(t)
}

func (s *slowLine) done(loads int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole == loads
}

func (s *slowLine) blameless(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ended {
		t.Error(e)
	}
	for _, svc := range []*netservice.NebService{s.a, s.b} {
		for id, p := range svc.Stats().Peers {
			if p.Receive.Faults > 0 || len(p.Send.Dropped) > 0 {
				t.Errorf("%s: %d faults, dropped %v", id, p.Receive.Faults, p.Send.Dropped)
			}
		}
	}
}
