package session

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/bench"
)

const baselineProtocol protocol.ID = "/baseline/1.0.0"

// counter counts messages and tells when a number of them has arrived.
type counter struct {
	n    atomic.Int64
	goal atomic.Int64
	hit  chan struct{}
}

func newCounter() *counter { return &counter{hit: make(chan struct{}, 1)} }

func (c *counter) add(n int) {
	if v := c.n.Add(int64(n)); v == c.goal.Load() {
		c.hit <- struct{}{}
	}
}

func (c *counter) expect(n int) { c.goal.Store(c.n.Load() + int64(n)) }

// pair is two hosts over loopback, with a session and a plain stream.
type pair struct {
	a, b    *node
	session *Session
	got     *counter
	plain   network.Stream
	plainN  *counter
}

func newPair(b *testing.B, security string, specs ...msgtype.Spec) *pair {
	x := &pair{got: newCounter(), plainN: newCounter()}
	x.a = newNode(b, newHost(b, security), nil, specs...)
	x.b = newNode(b, newHost(b, security), nil, specs...)
	x.b.handle = func(_ context.Context, _ string, batch [][]byte) error {
		x.got.add(len(batch))
		return nil
	}
	x.b.host.SetStreamHandler(baselineProtocol, func(st network.Stream) { readPlain(st, x.plainN) })
	b.Cleanup(func() {
		x.a.close(b)
		x.b.close(b)
	})
	x.session, _ = join(b, x.a, x.b)
	x.a.host.Peerstore().AddAddrs(x.b.host.ID(), x.b.host.Addrs(), peerstore.PermanentAddrTTL)
	st, err := x.a.host.NewStream(context.Background(), x.b.host.ID(), baselineProtocol)
	if err != nil {
		b.Fatal(err)
	}
	x.plain = st
	return x
}

// readPlain is the receiver of both baselines: a length and a body, read into
// one buffer and counted.
func readPlain(st network.Stream, c *counter) {
	r := bufio.NewReaderSize(st, 64<<10)
	var head [4]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			st.Reset()
			return
		}
		if _, err := r.Discard(int(binary.BigEndian.Uint32(head[:]))); err != nil {
			st.Reset()
			return
		}
		c.add(1)
	}
}

// oneWrite sends each message with a Write of its own.
func (x *pair) oneWrite(b *testing.B, payload []byte, n int) time.Duration {
	x.plainN.expect(n)
	buf := make([]byte, 4+len(payload))
	binary.BigEndian.PutUint32(buf, uint32(len(payload)))
	copy(buf[4:], payload)
	began := time.Now()
	for range n {
		if _, err := x.plain.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	<-x.plainN.hit
	return time.Since(began)
}

// batched appends messages to one of two buffers while a writer writes the
// other.
func (x *pair) batched(b *testing.B, payload []byte, n int) time.Duration {
	x.plainN.expect(n)
	limit := max(256<<10, 2*len(payload))
	var mu sync.Mutex
	cond := sync.NewCond(&mu)
	var pending, spare []byte
	over := false
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			mu.Lock()
			for len(pending) == 0 && !over {
				cond.Wait()
			}
			out := pending
			pending = spare[:0]
			mu.Unlock()
			cond.Signal()
			if len(out) == 0 {
				return
			}
			if _, err := x.plain.Write(out); err != nil {
				b.Error(err)
				return
			}
			spare = out
		}
	})
	began := time.Now()
	for range n {
		mu.Lock()
		for len(pending) > 0 && len(pending)+len(payload) > limit {
			cond.Wait()
		}
		pending = binary.BigEndian.AppendUint32(pending, uint32(len(payload)))
		pending = append(pending, payload...)
		mu.Unlock()
		cond.Signal()
	}
	mu.Lock()
	over = true
	mu.Unlock()
	cond.Signal()
	<-x.plainN.hit
	took := time.Since(began)
	wg.Wait()
	return took
}

// whole sends through a session.
func (x *pair) whole(b *testing.B, msgType string, payload []byte, n int, opts SendOptions) time.Duration {
	x.got.expect(n)
	began := time.Now()
	for range n {
		if err := x.session.Send(context.Background(), msgType, payload, opts); err != nil {
			b.Fatal(err)
		}
	}
	<-x.got.hit
	return time.Since(began)
}

// BenchmarkStream compares the whole path, from Send to Deliver, with a plain
// libp2p stream: one Write per message, and batched with swapped buffers. The
// three take turns; what is reported is the median of the rounds.
//
//	go test -run '^$' -bench BenchmarkStream -benchtime 15x ./internal/session
func BenchmarkStream(b *testing.B) {
	for _, security := range []string{"tls", "noise"} {
		for _, size := range []int{128, 1 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%d", security, size), func(b *testing.B) {
				x := newPair(b, security, msgtype.Spec{Name: "tx", MaxSize: max(size, 1<<20)})
				payload := randomBytes(1, size)
				n := min(400_000, (256<<20)/size)
				one := max(n/10, min(n, 200))
				x.whole(b, "tx", payload, n, SendOptions{})
				x.batched(b, payload, n)
				x.oneWrite(b, payload, one)
				var w, s, t, toOne, toBatched, cpu []float64
				var before, after runtime.MemStats
				var allocs uint64
				for b.Loop() {
					c0 := bench.CPU()
					rb := float64(n) / x.batched(b, payload, n).Seconds()
					c1 := bench.CPU()
					runtime.ReadMemStats(&before)
					rw := float64(n) / x.whole(b, "tx", payload, n, SendOptions{}).Seconds()
					c2 := bench.CPU()
					cpu = append(cpu, float64(c2-c1)/float64(c1-c0))
					runtime.ReadMemStats(&after)
					allocs += after.Mallocs - before.Mallocs
					ro := float64(one) / x.oneWrite(b, payload, one).Seconds()
					w, s, t = append(w, rw), append(s, rb), append(t, ro)
					toOne, toBatched = append(toOne, rw/ro), append(toBatched, rw/rb)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(w), "msg/s")
				b.ReportMetric(median(s), "batched-msg/s")
				b.ReportMetric(median(t), "onewrite-msg/s")
				b.ReportMetric(median(toOne), "x-onewrite")
				b.ReportMetric(median(toBatched), "x-batched")
				b.ReportMetric(median(cpu), "cpu-x-batched")
				b.ReportMetric(float64(allocs)/float64(n*len(w)), "allocs/msg")
			})
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// BenchmarkPriority measures a high-priority message of 100 bytes while 1 MiB
// messages of low priority saturate the connection.
func BenchmarkPriority(b *testing.B) {
	for _, security := range []string{"tls", "noise"} {
		b.Run(security, func(b *testing.B) {
			specs := []msgtype.Spec{
				{Name: "block", MaxSize: 1 << 20, Priority: msgtype.PriorityLow},
				{Name: "vote", Priority: msgtype.PriorityHigh},
			}
			x := newPair(b, security, specs...)
			arrived := make(chan time.Time, 1)
			var bulk atomic.Int64
			x.b.handle = func(_ context.Context, msgType string, batch [][]byte) error {
				if msgType == "vote" {
					arrived <- time.Now()
					return nil
				}
				bulk.Add(int64(len(batch)))
				return nil
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			payload := randomBytes(1, 1<<20)
			var wg sync.WaitGroup
			wg.Go(func() {
				for x.session.Send(ctx, "block", payload, SendOptions{Shared: true}) == nil {
				}
			})
			time.Sleep(200 * time.Millisecond) // the connection fills up
			began, count := time.Now(), bulk.Load()
			var took []float64
			vote := make([]byte, 100)
			for b.Loop() {
				t := time.Now()
				if err := x.session.Send(ctx, "vote", vote, SendOptions{}); err != nil {
					b.Fatal(err)
				}
				took = append(took, float64((<-arrived).Sub(t).Microseconds()))
				time.Sleep(time.Millisecond)
			}
			rate := float64(bulk.Load()-count) / time.Since(began).Seconds()
			cancel()
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took[len(took)/2], "p50-us")
			b.ReportMetric(took[len(took)*99/100], "p99-us")
			b.ReportMetric(rate, "bulk-MiB/s")
		})
	}
}

// BenchmarkSend is the whole path alone, for profiles.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{128, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x := newPair(b, "tls", msgtype.Spec{Name: "tx", MaxSize: max(size, 1<<20)})
			payload := randomBytes(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			x.whole(b, "tx", payload, b.N, SendOptions{})
		})
	}
}
