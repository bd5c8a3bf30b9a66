package pacing

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// line is a connection in virtual time: a rate, a round trip and a queue without
// end. It takes what is written at once, as a kernel does.
type line struct {
	rate float64 // bytes per second
	rtt  time.Duration
	b    *Budget

	mu     sync.Mutex // guards the fields below
	free   time.Time  // when the line has sent all that it took
	bytes  int64
	queued time.Duration // longest queue since reset
	pings  int
}

func newLine(rate float64, rtt time.Duration) *line {
	l := &line{rate: rate, rtt: rtt, b: NewBudget(), free: time.Now()}
	l.b.Attach(l.ping)
	l.ping(l.b.Mark()) // as a session does at its beginning
	time.Sleep(time.Second)
	return l
}

// write returns when the last byte arrives.
func (l *line) write(n int) (arrives time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * 1e9))
	l.bytes += int64(n)
	l.queued = max(l.queued, l.free.Sub(now))
	return l.free.Add(l.rtt / 2)
}

func (l *line) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes, l.queued, l.pings = 0, 0, 0
}

func (l *line) ping(nonce uint64) {
	l.mu.Lock()
	l.pings++
	l.mu.Unlock()
	time.AfterFunc(time.Until(l.write(24))+l.rtt/2, func() { l.b.Marked(nonce) })
}

// bulk writes as fast as it may until ctx ends.
func (l *line) bulk(ctx context.Context, class Class, sent *atomic.Int64) {
	f := NewFlow(l.b)
	for {
		n, err := f.Begin(ctx, class, Largest)
		if err != nil {
			return
		}
		l.write(n)
		f.End(n)
		sent.Add(int64(n))
	}
}

// TestWindow: a line is used well, its queue stays short, and the marks are few.
func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		rate  float64
		rtt   time.Duration
		class Class
		queue time.Duration
	}{
		{32e3, 40 * time.Millisecond, Low, 600 * time.Millisecond},
		{32e3, 40 * time.Millisecond, Normal, 600 * time.Millisecond},
		{125e3, 40 * time.Millisecond, Low, 170 * time.Millisecond},
		{125e3, 40 * time.Millisecond, Normal, 250 * time.Millisecond},
		{1.25e6, 40 * time.Millisecond, Low, 100 * time.Millisecond},
		{1.25e6, 40 * time.Millisecond, Normal, 250 * time.Millisecond},
		{1.25e6, 80 * time.Millisecond, Normal, 250 * time.Millisecond},
		{12e6, 100 * time.Millisecond, Low, 150 * time.Millisecond},
		{12e6, 100 * time.Millisecond, Normal, 250 * time.Millisecond},
		{100e6, 50 * time.Millisecond, Low, 100 * time.Millisecond},
		{500e6, 100 * time.Microsecond, Low, 50 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%.0fkBs/%s/class%d", tt.rate/1e3, tt.rtt, tt.class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(tt.rate, tt.rtt)
				ctx, cancel := context.WithCancel(t.Context())
				var sent atomic.Int64
				go l.bulk(ctx, tt.class, &sent)
				time.Sleep(5 * time.Second)
				l.reset()
				time.Sleep(30 * time.Second)
				synctest.Wait()
				l.mu.Lock()
				defer l.mu.Unlock()
				rate := float64(l.bytes) / 30
				if rate < 0.85*tt.rate || l.queued > tt.queue || l.pings > 30*markRate {
					t.Errorf("%.2f of the rate, a queue of %s, %d pings a second", rate/tt.rate, l.queued, l.pings/30)
				}
				cancel()
				l.b.close()
			})
		})
	}
}

// TestFirstChunks: before anything of a new connection has come back, four chunks of a
// large broadcast are on their way, each in one write.
func TestFirstChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const piece = 16<<10 + 16
		l := newLine(6.25e6, 200*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 190*time.Millisecond)
		defer cancel()
		f := NewFlow(l.b)
		chunks := 0
		for ; ; chunks++ {
			n, err := f.Begin(ctx, Low, piece)
			if err != nil {
				break
			}
			if n != piece {
				t.Errorf("chunk %d begins with %d bytes of %d", chunks, n, piece)
			}
			l.write(n)
			f.End(n)
			f.Leave()
		}
		if chunks != 4 {
			t.Errorf("%d chunks are on their way, want 4", chunks)
		}
		synctest.Wait()
		l.b.close()
	})
}

// TestSmallHighMessage: beside many that write without pause, a small message of
// class High takes little more than the line itself, and nobody is starved.
func TestSmallHighMessage(t *testing.T) {
	for _, rate := range []float64{32e3, 125e3, 1.25e6} {
		t.Run(fmt.Sprintf("%.0fkBs", rate/1e3), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rtt = 80 * time.Millisecond
				l := newLine(rate, rtt)
				ctx, cancel := context.WithCancel(t.Context())
				sent := make([]atomic.Int64, 25)
				for i := range sent {
					class := Low
					if i >= 20 {
						class = Normal
					}
					go l.bulk(ctx, class, &sent[i])
				}
				f := NewFlow(l.b)
				var took []time.Duration
				for range 400 {
					time.Sleep(250 * time.Millisecond)
					began := time.Now()
					n, err := f.Begin(t.Context(), High, 100)
					if err != nil || n != 100 {
						t.Fatal(n, err)
					}
					took = append(took, l.write(n).Sub(began))
					f.End(n)
					f.Leave()
				}
				slices.Sort(took)
				most := 4*rtt + time.Duration(64<<10/rate*1e9)
				if p99 := took[len(took)*99/100]; p99 > most*4/5 {
					t.Errorf("p99 %s, want at most four fifths of %s", p99, most)
				}
				var low, normal int64
				for i := range sent {
					n := sent[i].Load()
					if n == 0 {
						t.Errorf("writer %d is starved", i)
					}
					if i < 20 {
						low += n
					} else {
						normal += n
					}
				}
				if share := float64(normal) / float64(low); share < 3 || share > 5 {
					t.Errorf("normal got %.1f times what low got, want 4", share)
				}
				cancel()
				synctest.Wait()
				l.b.close()
			})
		})
	}
}

// TestRTTs: of a peer's connections the shortest counts, by its round trip without a queue;
// one of which nothing is known is left out.
func TestRTTs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newLine(1e6, 20*time.Millisecond), newLine(1e6, 60*time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int64
		go near.bulk(ctx, Low, &sent)
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		s := &Budgets{conns: map[network.Conn]*Budget{
			conn{peer: "a", n: 1}: far.b, conn{peer: "a", n: 2}: near.b, conn{peer: "b"}: NewBudget(),
		}}
		rtts := s.RTTs()
		if d := rtts["a"]; len(rtts) != 1 || d < 20*time.Millisecond || d > 21*time.Millisecond {
			t.Errorf("round trips %v", rtts)
		}
		near.b.close()
		far.b.close()
	})
}

// conn is a connection of which only the peer is asked for.
type conn struct {
	network.Conn
	peer peer.ID
	n    int
}

func (c conn) RemotePeer() peer.ID { return c.peer }
