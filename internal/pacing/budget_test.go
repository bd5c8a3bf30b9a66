package pacing

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalledReceiver: a write that waits for its own receiver is not on the way,
// and holds up nobody.
func TestStalledReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(1e6, 20*time.Millisecond)
		var stuck []*Flow
		for range 100 { // more than the window
			f := NewFlow(l.b)
			if _, err := f.Begin(t.Context(), Normal, 4<<10); err != nil {
				t.Fatal(err)
			}
			stuck = append(stuck, f) // and never ends
		}
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int64
		go l.bulk(ctx, Low, &sent)
		time.Sleep(10 * time.Second)
		cancel()
		synctest.Wait()
		if n := sent.Load(); n < 9e6 {
			t.Errorf("%d bytes in 10 s beside writes that wait for their receivers", n)
		}
		if n := l.b.transit.inFlight(all); n > l.b.window.size() {
			t.Errorf("%d bytes are said to be on the way", n)
		}
		for _, f := range stuck {
			f.End(4 << 10)
			f.Leave()
		}
		l.b.close()
	})
}

// TestUnanswered: while nobody answers marks a window that is full lets nothing
// pass, a small message of class High apart, and that is overdue after the time
// that the slowest line takes.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget()
		var pings atomic.Int32
		detach := b.Attach(func(uint64) { pings.Add(1) })
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		f, sent := NewFlow(b), 0
		for {
			n, err := f.Begin(ctx, Low, 64<<10)
			if err != nil {
				break
			}
			f.End(n)
			sent += n
			if sent == n && b.Overdue(5*time.Second) {
				t.Error("overdue at once")
			}
		}
		if sent > firstWindow {
			t.Errorf("%d bytes went out", sent)
		}
		if n := pings.Load(); n < 25 || n > 45 {
			t.Errorf("%d pings in 30 s, want one a second or so", n)
		}
		h := NewFlow(b)
		if n, err := h.Begin(ctxDone(), High, 100); n != 100 || err != nil {
			t.Errorf("a small high message: %d, %v", n, err)
		}
		h.End(100)
		h.Leave()
		if !b.Overdue(5 * time.Second) {
			t.Error("not overdue after half a minute")
		}
		// Without somebody who answers, the transport is the limit.
		detach()
		if n, err := f.Begin(ctxDone(), Low, 64<<10); n == 0 || err != nil {
			t.Errorf("detached: %d, %v", n, err)
		}
		f.End(1)
		f.Leave()
		if b.Overdue(0) {
			t.Error("overdue although nobody answers")
		}
		b.close()
	})
}

func ctxDone() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("too late"))
	return ctx
}

// TestCancel: who gives up leaves the queue, and the error is the cause.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget()
		b.Attach(func(uint64) {})
		first := NewFlow(b)
		if n, err := first.Begin(t.Context(), Normal, 64<<10); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		for b.fitsLocked(&Flow{b: b, class: Normal, want: 100}, b.now()) > 0 {
			f := NewFlow(b)
			f.Begin(t.Context(), Normal, 100)
		}
		if _, err := NewFlow(b).Begin(ctxDone(), Normal, 100); err == nil || err.Error() != "too late" {
			t.Errorf("%v", err)
		}
		if n := len(b.waiting[Normal]); n != 0 {
			t.Errorf("%d wait", n)
		}
		b.close()
		if n, err := NewFlow(b).Begin(ctxDone(), Normal, 100); n != 100 || err != nil {
			t.Errorf("closed: %d, %v", n, err)
		}
	})
}

// TestWeights: where the transport itself is the limit, classes share by weight.
func TestWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget()
		port := make(chan struct{}, 1) // the transport takes one write at a time
		ctx, cancel := context.WithCancel(t.Context())
		var sent [Classes]int
		var wg sync.WaitGroup
		for class := range Class(Classes) {
			wg.Go(func() {
				f := NewFlow(b)
				for ctx.Err() == nil {
					n, err := f.Begin(ctx, class, 32<<10)
					if err != nil {
						return
					}
					port <- struct{}{}
					time.Sleep(time.Duration(n) * 10) // 100 MB/s
					<-port
					f.End(n)
					sent[class] += n
				}
			})
		}
		time.Sleep(10 * time.Second)
		cancel()
		wg.Wait()
		for class, share := range []float64{16, 4} {
			next := sent[class+1]
			if r, want := float64(sent[class])/float64(next), share/[]float64{4, 1}[class]; r < want*0.8 || r > want*1.25 {
				t.Errorf("class %d got %.1f times what the next one got, want %.0f", class, r, want)
			}
		}
		b.close()
	})
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget()
		if !b.LastLife().IsZero() {
			t.Error("life before any")
		}
		time.Sleep(time.Second)
		b.Heard()
		heard := time.Now()
		if !b.LastLife().Equal(heard) {
			t.Errorf("heard at %s, not %s", b.LastLife(), heard)
		}
		f := NewFlow(b)
		f.Begin(t.Context(), Normal, 10)
		f.End(10)
		if !b.LastLife().Equal(heard) {
			t.Error("a write that a buffer took is no life")
		}
		f.Begin(t.Context(), Normal, 10)
		time.Sleep(congested)
		f.End(10)
		if !b.LastLife().Equal(time.Now()) {
			t.Error("a write that had to wait and went on is life")
		}
		f.Begin(t.Context(), Normal, 10)
		time.Sleep(time.Minute)
		f.End(0)
		if b.LastLife().Equal(time.Now()) {
			t.Error("a write that failed is no life")
		}
		f.Leave()
		nonce := b.Mark()
		time.Sleep(time.Second)
		if took, ok := b.Marked(nonce); !ok || took != time.Second || !b.LastLife().Equal(time.Now()) {
			t.Errorf("mark: %s, %v", took, ok)
		}
		if _, ok := b.Marked(nonce); ok {
			t.Error("one answer to a mark counts")
		}
		b.close()
	})
}

func BenchmarkFlow(b *testing.B) {
	bud := NewBudget()
	bud.Attach(func(nonce uint64) { go bud.Marked(nonce) })
	f := NewFlow(bud)
	b.ReportAllocs()
	for b.Loop() {
		n, _ := f.Begin(context.Background(), Normal, 1<<10)
		f.End(n)
	}
	f.Leave()
	bud.close()
}
