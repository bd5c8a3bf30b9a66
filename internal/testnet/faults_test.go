package testnet

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/neterr"
)

func TestCutHoldsWhatIsInTheAir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		mustWrite(t, a, "in the air ")
		time.Sleep(testLatency / 2)
		n.Cut(n.Node(1), n.Node(2))
		mustWrite(t, a, "after the cut")
		if _, _, err := readWithin(b, time.Second); !neterr.IsTimeout(err) {
			t.Fatalf("read through the cut: %v", err)
		}
		// The other direction passes.
		mustWrite(t, b, "back")
		wantRead(t, a, "back", testLatency)

		n.Heal()
		// Retransmissions fall 200, 600, 1400 ms after the cut; it is 1,020 ms.
		wantRead(t, b, "in the air after the cut", 380*time.Millisecond+testLatency)
	})
}

func TestCutHoldsAcknowledgments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t, WithWindow(100))
		n.Cut(n.Node(2), n.Node(1)) // a's data arrives, the acknowledgments do not
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		done := make(chan int, 1)
		go func() { k, _ := a.Write(make([]byte, 1000)); done <- k }()
		if got, _, err := readWithin(b, time.Second); len(got) != 100 || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, _, err := readWithin(b, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("more than a window without acknowledgment: %v", err)
		}
		n.Uncut(n.Node(2), n.Node(1))
		if got, _, err := readWithin(b, time.Second); len(got) == 0 || err != nil {
			t.Errorf("after the cut: %d bytes, %v", len(got), err)
		}
		b.Close()
		<-done
	})
}

func TestFinIsBlackholedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.Isolate(n.Node(1))
		a.Close()
		if _, _, err := readWithin(b, time.Hour); !neterr.IsTimeout(err) {
			t.Fatalf("read: %v", err)
		}
		n.Heal()
		if _, took, err := readWithin(b, time.Hour); err == nil || neterr.IsTimeout(err) || took > DefaultMaxRTO+testLatency {
			t.Errorf("read after the heal: %v after %v", err, took)
		}
	})
}

func TestResetIsLostInACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.Cut(n.Node(1), n.Node(2))
		a.Reset()
		if _, _, err := readWithin(b, time.Hour); !neterr.IsTimeout(err) {
			t.Fatalf("read: %v", err)
		}
		mustWrite(t, b, "anybody?") // arrives; the answer is lost
		time.Sleep(time.Minute)
		n.Heal()
		if _, took, err := readWithin(b, time.Hour); !errors.Is(err, syscall.ECONNRESET) || took > DefaultMaxRTO+2*testLatency {
			t.Errorf("read after the heal: %v after %v", err, took)
		}
	})
}

func TestResetInTheAirIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		a.Reset()
		time.Sleep(testLatency / 2)
		n.Isolate(n.Node(1))
		if _, _, err := readWithin(b, time.Hour); !neterr.IsTimeout(err) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestDialThroughAOneWayCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, _ := pair(t)
		for _, cut := range [][2]netip.Addr{{n.Node(1), n.Node(2)}, {n.Node(2), n.Node(1)}} {
			n.Cut(cut[0], cut[1])
			if _, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2))); !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("dial with %s to %s cut: %v", cut[0], cut[1], err)
			}
			n.Heal()
		}
	})
}

// TestAnswerInACut kills the reader of what is in the air when the reset cannot
// get back.
func TestAnswerInACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, _ := pair(t)
		n.Cut(n.Node(2), n.Node(1))
		mustWrite(t, a, "in the air")
		n.Kill(n.Node(2))
		if _, _, err := readWithin(a, time.Minute); !neterr.IsTimeout(err) {
			t.Fatalf("read: %v", err)
		}
		n.Heal()
		if _, took, err := readWithin(a, time.Hour); !errors.Is(err, syscall.ECONNRESET) || took > DefaultMaxRTO+2*testLatency {
			t.Errorf("read after the heal: %v after %v", err, took)
		}
	})
}

// TestRulesThatChangeMeanwhile changes the links in the middle of a dial and of
// another change.
func TestRulesThatChangeMeanwhile(t *testing.T) {
	for call := 1; call <= 7; call++ {
		synctest.Test(t, func(t *testing.T) {
			n := New(1)
			l, err := n.Listen(Addr(n.Node(2)))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			calls := 0
			final := func(_, _ netip.Addr) Link { return Link{Latency: time.Minute} }
			first := func(_, _ netip.Addr) Link {
				if calls++; calls == call {
					n.SetLink(final)
				}
				return Link{}
			}
			n.SetLink(first)
			c, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if calls < call {
				n.SetLink(first)
			}
			for i := range c.flow.lanes {
				if got := c.flow.lanes[i].link.Latency; got != time.Minute {
					t.Errorf("changed at call %d: lane %d has the latency %v", call, i, got)
				}
			}
		})
	}
}

func TestDialThroughAShortFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, _ := pair(t)
		n.PartitionFunc(func(from, to netip.Addr) bool { return true })
		time.AfterFunc(2*time.Second, func() { n.PartitionFunc(nil) })
		start := time.Now()
		c, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if took := time.Since(start); took != 3*time.Second+2*testLatency { // attempts at 0, 1 and 3 s
			t.Errorf("took %v", took)
		}
	})
}

func TestDialErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, _ := pair(t)
		for _, c := range []struct {
			name  string
			limit time.Duration
			to    netip.AddrPort
			want  error
			took  time.Duration
		}{
			{"no listener at home", time.Hour, Addr(n.Node(1)), syscall.ECONNREFUSED, 0},
			{"no listener there", time.Hour, netip.AddrPortFrom(n.Node(2), 1), syscall.ECONNREFUSED, 2 * testLatency},
			{"nobody has the address", time.Hour, Addr(n.Node(77)), syscall.ETIMEDOUT, DefaultDialTimeout},
			{"loopback", time.Hour, netip.MustParseAddrPort("127.0.0.1:4001"), syscall.ECONNREFUSED, 0},
			{"context", time.Second, Addr(n.Node(77)), context.DeadlineExceeded, time.Second},
		} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			_, err := n.Dial(ctx, n.Node(1), c.to)
			cancel()
			if took := time.Since(start); !errors.Is(err, c.want) || took != c.took {
				t.Errorf("%s: %v after %v, want %v after %v", c.name, err, took, c.want, c.took)
			}
		}
	})
}

func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, WithBacklog(2))
		l, err := n.Listen(Addr(n.Node(2)))
		if err != nil {
			t.Fatal(err)
		}
		var conns []*Conn
		for range 2 {
			c, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2)))
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		if _, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2))); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("dial of a full listener: %v", err)
		}
		l.Close()
		for _, c := range conns {
			wantReadError(t, c, syscall.ECONNRESET, 0)
			c.Close()
		}
		if s := n.TotalStats(); s.Conns != 0 || s.Accepts != 2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestStopReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t, WithWindow(100))
		n.StopReading(n.Node(2))
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		if k, err := a.Write(make([]byte, 150)); k != 100 || !neterr.IsTimeout(err) {
			t.Errorf("wrote %d, %v", k, err)
		}
		if _, _, err := readWithin(b, time.Minute); !neterr.IsTimeout(err) {
			t.Errorf("read: %v", err)
		}
		mustWrite(t, b, "still talking")
		wantRead(t, a, "still talking", testLatency)
		time.AfterFunc(time.Second, func() { n.ResumeReading(n.Node(2)) })
		wantRead(t, b, string(make([]byte, 100)), time.Second)
	})
}

func TestPartitionGroups(t *testing.T) {
	n := New(1)
	a, b, c, d := n.Node(1), n.Node(2), n.Node(3), n.Node(4)
	n.Partition([]netip.Addr{a, b}, []netip.Addr{c})
	for _, x := range []struct {
		from, to netip.Addr
		blocked  bool
	}{{a, b, false}, {a, c, true}, {c, a, true}, {d, a, true}, {d, c, true}, {d, n.Node(5), false}, {a, a, false}} {
		if got := n.rules.Load().path(x.from, x.to).blocked; got != x.blocked {
			t.Errorf("%s to %s: blocked %v", x.from, x.to, got)
		}
	}
	n.Heal()
	if n.rules.Load().path(a, c).blocked {
		t.Error("blocked after the heal")
	}
}

func TestHostsThroughAPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, WithLink(Link{Latency: testLatency}))
		a, b := n.Host(t, n.Node(1)), n.Host(t, n.Node(2))
		serveEcho(b)
		connect(t, a, b)

		// A short one: the connection survives.
		n.Partition([]netip.Addr{n.Node(1)})
		time.AfterFunc(5*time.Second, n.Heal)
		if err := echo(t.Context(), a, b, 1000); err != nil {
			t.Errorf("echo through a short partition: %v", err)
		}
		// A long one: it does not, and a new one can be made after the heal.
		n.Partition([]netip.Addr{n.Node(1)})
		time.Sleep(2 * time.Minute)
		if a.Network().Connectedness(b.ID()) == network.Connected {
			t.Error("still connected")
		}
		n.Heal()
		connect(t, a, b)
		if err := echo(t.Context(), a, b, 1000); err != nil {
			t.Errorf("echo after the heal: %v", err)
		}
	})
}

// TestHostsOneWayCut shows why one-way cuts are worth testing: the side that
// still hears the other takes it for alive.
func TestHostsOneWayCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, WithLink(Link{Latency: testLatency}))
		a, b := n.Host(t, n.Node(1)), n.Host(t, n.Node(2))
		serveEcho(b)
		connect(t, a, b)
		before := n.Stats(n.Node(1)).Received
		n.Cut(n.Node(1), n.Node(2))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := echo(ctx, a, b, 10); err == nil {
			t.Error("echo through the cut")
		}
		time.Sleep(2 * time.Minute)
		if a.Network().Connectedness(b.ID()) == network.Connected {
			t.Error("a is still connected")
		}
		if n.Stats(n.Node(1)).Received == before {
			t.Error("nothing came the other way")
		}
	})
}
