package testnet

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/go-nebnet/nebnet/internal/neterr"
)

// TestConnContract runs in real time: the suite starts subtests, which a bubble
// forbids.
func TestConnContract(t *testing.T) {
	for name, opts := range map[string][]Option{
		"instant": nil,
		"latency": {WithLink(Link{Latency: 100 * time.Microsecond, Jitter: 100 * time.Microsecond})},
		"window":  {WithWindow(1000)},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				n := New(1, opts...)
				l, err := n.Listen(Addr(n.Node(2)))
				if err != nil {
					return nil, nil, nil, err
				}
				defer l.Close()
				c1, err = n.Dial(t.Context(), n.Node(1), Addr(n.Node(2)))
				if err != nil {
					return nil, nil, nil, err
				}
				c2, err = l.Accept()
				return c1, c2, func() { c1.Close(); c2.Close() }, err
			})
		})
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, a, b := pair(t)
		if took := time.Since(start); took != 2*testLatency {
			t.Errorf("dial took %v", took)
		}
		mustWrite(t, a, "one")
		mustWrite(t, a, "two")
		wantRead(t, b, "onetwo", testLatency)
		mustWrite(t, b, "back")
		wantRead(t, a, "back", testLatency)
	})
}

func TestAsymmetricLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.SetLink(func(from, _ netip.Addr) Link {
			if from == n.Node(1) {
				return Link{Latency: time.Second}
			}
			return Link{Latency: time.Millisecond}
		})
		mustWrite(t, a, "there")
		mustWrite(t, b, "back")
		wantRead(t, a, "back", time.Millisecond)
		wantRead(t, b, "there", 999*time.Millisecond)
	})
}

func TestWindowStopsTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, WithWindow(1000))
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := a.Write(make([]byte, 5000))
		if n != 1000 || !errors.Is(err, os.ErrDeadlineExceeded) || !neterr.IsTimeout(err) {
			t.Fatalf("wrote %d, %v", n, err)
		}
		a.SetWriteDeadline(time.Time{})
		done := make(chan error, 1)
		go func() { _, err := a.Write(make([]byte, 5000)); done <- err }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("the write did not wait for the reader")
		default:
		}
		if _, err := io.ReadFull(b, make([]byte, 6000)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		mustWrite(t, a, "request")
		if err := errors.Join(a.CloseWrite(), a.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after CloseWrite: %v", err)
		}
		got, err := io.ReadAll(b)
		if string(got) != "request" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		time.Sleep(time.Hour)
		mustWrite(t, b, "answer")
		b.Close()
		got, err = io.ReadAll(a)
		if string(got) != "answer" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func TestCloseDeliversWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.SetBandwidth(n.Node(1), Bandwidth{Up: 1_000_000})
		data := bytes.Repeat([]byte("x"), 300_000)
		if _, err := a.Write(data); err != nil {
			t.Fatal(err)
		}
		a.Close()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

func TestCloseWithoutLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		a.SetLinger(0)
		mustWrite(t, a, "on the wire")
		a.Close()
		wantRead(t, b, "on the wire", testLatency)
		wantReadError(t, b, syscall.ECONNRESET, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.SetBandwidth(n.Node(1), Bandwidth{Up: 8 * segmentSize}) // one segment a second
		a.SetLinger(0)
		if _, err := a.Write(make([]byte, 4*segmentSize)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		a.Close()
		got, err := io.ReadAll(b)
		if len(got) != segmentSize || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestResetFollowsTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(20) {
			n := New(seed, WithLink(Link{Latency: testLatency, Jitter: 2 * testLatency}))
			l, err := n.Listen(Addr(n.Node(2)))
			if err != nil {
				t.Fatal(err)
			}
			a, err := n.Dial(t.Context(), n.Node(1), Addr(n.Node(2)))
			if err != nil {
				t.Fatal(err)
			}
			b, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, a, "before the reset")
			a.Reset()
			if got, _, err := readWithin(b, time.Hour); got != "before the reset" {
				t.Errorf("seed %d: %q, %v", seed, got, err)
			}
			b.Close()
			l.Close()
		}
	})
}

func TestCloseWithUnreadDataResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		mustWrite(t, b, "never read")
		time.Sleep(testLatency)
		a.Close()
		wantReadError(t, b, syscall.ECONNRESET, testLatency)
	})
}

func TestWriteToClosedEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		b.Close()
		time.Sleep(time.Second)
		mustWrite(t, a, "x") // the answer is a round trip away
		time.Sleep(2 * testLatency)
		if _, err := a.Write([]byte("y")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		mustWrite(t, a, "in the air as b closes")
		b.Close()
		time.Sleep(2 * testLatency)
		if _, err := a.Write([]byte("y")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestResetWakesBlockedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t, WithWindow(10))
		errs := make(chan error, 4)
		for _, c := range []*Conn{a, b} {
			go func() { _, err := c.Write(make([]byte, 100)); errs <- err }()
		}
		synctest.Wait()
		n.Reset(n.Node(2), n.Node(1))
		for range 2 {
			if err := <-errs; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("write: %v", err)
			}
		}
		if got := n.TotalStats().Resets; got != 2 {
			t.Errorf("%d resets counted", got)
		}
	})
}

func TestConnReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		a.Reset()
		wantReadError(t, b, syscall.ECONNRESET, testLatency)
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read on the end that reset: %v", err)
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second close: %v", err)
		}
		if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("deadline after close: %v", err)
		}
	})
}

// TestWritesAreWhole runs ten times: who writes next is the scheduler's choice.
func TestWritesAreWhole(t *testing.T) {
	for range 10 {
		synctest.Test(t, testWritesAreWhole)
	}
}

func testWritesAreWhole(t *testing.T) {
	_, a, b := pair(t, WithWindow(7))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { a.Write(bytes.Repeat([]byte{byte(i)}, 100)) })
	}
	go func() { wg.Wait(); a.Close() }()
	got, err := io.ReadAll(iotest.OneByteReader(b))
	if err != nil || len(got) != 2000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for i := 0; i < len(got); i += 100 {
		if !bytes.Equal(got[i:i+100], bytes.Repeat(got[i:i+1], 100)) {
			t.Fatal("two writes are mixed")
		}
	}
}

// TestStreamIsIntact sends random sizes both ways through every trouble that
// TCP mends.
func TestStreamIsIntact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := Link{Latency: 30 * time.Millisecond, Jitter: 50 * time.Millisecond, Loss: 0.05}
		n, a, b := pair(t, WithLink(link), WithWindow(50_000), WithBandwidth(Bandwidth{Up: 2_000_000, Down: 1_000_000}))
		var wg sync.WaitGroup
		for _, c := range [][2]*Conn{{a, b}, {b, a}} {
			data := make([]byte, 600_000)
			src := rand.NewChaCha8([32]byte{byte(c[0].side)})
			src.Read(data)
			wg.Go(func() {
				r := rand.New(src)
				for rest := data; len(rest) > 0; {
					k := min(len(rest), 1+r.IntN(40_000))
					if _, err := c[0].Write(rest[:k]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[k:]
				}
				c[0].CloseWrite()
			})
			wg.Go(func() {
				got, err := io.ReadAll(c[1])
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
				}
			})
		}
		for range 5 {
			time.Sleep(300 * time.Millisecond)
			n.Cut(n.Node(1), n.Node(2))
			time.Sleep(700 * time.Millisecond)
			n.Isolate(n.Node(2))
			time.Sleep(time.Second)
			n.Heal()
			checkLanes(t, n)
			time.Sleep(200 * time.Millisecond)
		}
		checkLanes(t, n)
		wg.Wait()
		s := n.Stats(n.Node(1))
		if s.Sent != 600_000 || s.Received != 600_000 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// checkLanes checks what always holds of a lane: segments arrive in order, black-holed
// ones come last, and none is black-holed on an open lane.
func checkLanes(t *testing.T, n *Net) {
	t.Helper()
	n.mu.Lock()
	flows := n.flowsLocked()
	n.mu.Unlock()
	for _, f := range flows {
		f.mu.Lock()
		for i := range f.lanes {
			l := &f.lanes[i]
			size := l.unacked
			var last segment
			for _, s := range l.queue {
				size += len(s.data)
				if last.blackholed && !s.blackholed || !s.blackholed && s.arrives.Before(last.arrives) {
					t.Errorf("lane %d: out of order", i)
				}
				if s.blackholed && !f.blockedLocked(i) {
					t.Errorf("lane %d: black-holed for ever", i)
				}
				last = s
			}
			if size != l.size || size > n.window {
				t.Errorf("lane %d: %d bytes queued, %d counted", i, size, l.size)
			}
		}
		f.mu.Unlock()
	}
}
