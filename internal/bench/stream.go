package bench

import (
	"bufio"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// Counter counts arrivals and tells when an expected number of them is there.
type Counter struct {
	n, goal atomic.Int64
	hit     chan struct{}
}

// NewCounter makes a Counter at zero.
func NewCounter() *Counter { return &Counter{hit: make(chan struct{}, 1)} }

// Expect says how many more arrivals Wait waits for. Call it before they begin.
func (c *Counter) Expect(n int) { c.goal.Store(c.n.Load() + int64(n)) }

// Add counts arrivals.
func (c *Counter) Add(n int) {
	if after := c.n.Add(int64(n)); after >= c.goal.Load() && after-int64(n) < c.goal.Load() {
		c.hit <- struct{}{}
	}
}

// Wait waits for the expected number.
func (c *Counter) Wait() { <-c.hit }

// Count is the number of arrivals so far.
func (c *Counter) Count() int64 { return c.n.Load() }

// Receive is the receiving end of OneWrite and Batched, a stream handler: four
// bytes of length and a body, through one 64 KiB buffer, counted.
func Receive(c *Counter) network.StreamHandler {
	return func(s network.Stream) {
		r := bufio.NewReaderSize(s, 64<<10)
		var head [4]byte
		for {
			if _, err := io.ReadFull(r, head[:]); err != nil {
				break
			}
			if _, err := r.Discard(int(binary.BigEndian.Uint32(head[:]))); err != nil {
				break
			}
			c.Add(1)
		}
		s.Reset()
	}
}

func appendMessage(dst, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(payload))), payload...)
}

// OneWrite sends a payload n times with a Write each, and returns the time
// until the last one has arrived.
func OneWrite(s io.Writer, c *Counter, payload []byte, n int) (time.Duration, error) {
	c.Expect(n)
	message := appendMessage(nil, payload)
	began := time.Now()
	for range n {
		if _, err := s.Write(message); err != nil {
			return 0, err
		}
	}
	c.Wait()
	return time.Since(began), nil
}

// Batched sends a payload n times through two buffers that take turns: one is
// filled while a second goroutine writes the other.
func Batched(s io.Writer, c *Counter, payload []byte, n int) (time.Duration, error) {
	c.Expect(n)
	limit := max(256<<10, 2*len(payload))
	var (
		mu      sync.Mutex // guards what follows
		cond    = sync.NewCond(&mu)
		pending []byte
		over    bool
		failed  error
		writer  sync.WaitGroup
	)
	writer.Go(func() {
		var spare []byte
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
			_, err := s.Write(out)
			if err != nil {
				mu.Lock()
				failed, over = err, true
				mu.Unlock()
				cond.Signal()
				return
			}
			spare = out
		}
	})
	began := time.Now()
	for range n {
		mu.Lock()
		for failed == nil && len(pending) > 0 && len(pending)+len(payload) > limit {
			cond.Wait()
		}
		pending = appendMessage(pending, payload)
		mu.Unlock()
		cond.Signal()
	}
	mu.Lock()
	over = true
	mu.Unlock()
	cond.Signal()
	writer.Wait()
	if failed != nil {
		return 0, failed
	}
	c.Wait()
	return time.Since(began), nil
}

// Median of the values; of an even number the upper one.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
