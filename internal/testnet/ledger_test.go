package testnet

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestLedger(t *testing.T) {
	const ms = time.Millisecond
	type reservation struct {
		at   time.Duration
		size int
		want time.Duration
	}
	for name, c := range map[string]struct {
		rate   int64
		rounds []reservation
	}{
		"no limit":   {0, []reservation{{0, 1 << 20, 0}, {0, 1 << 20, 0}}},
		"in a row":   {8000, []reservation{{0, 10, 10 * ms}, {0, 10, 20 * ms}, {15 * ms, 10, 30 * ms}}},
		"idle time":  {8000, []reservation{{0, 10, 10 * ms}, {100 * ms, 10, 110 * ms}}},
		"early last": {8000, []reservation{{100 * ms, 10, 110 * ms}, {0, 10, 10 * ms}}},
		"round it":   {8000, []reservation{{5 * ms, 5, 10 * ms}, {0, 10, 15 * ms}}},
		"small":      {8_000_000, []reservation{{0, 1, time.Microsecond}, {0, 1, 2 * time.Microsecond}}},
		"empty":      {8000, []reservation{{0, 0, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				l := ledger{rate: c.rate}
				for i, r := range c.rounds {
					if got := l.reserve(start.Add(r.at), r.size).Sub(start); got != r.want {
						t.Errorf("round %d: %v, want %v", i, got, r.want)
					}
				}
			})
		})
	}
}

func TestLedgerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{rate: 8_000_000}
		for range 1000 {
			l.reserve(time.Now(), 10_000)
			time.Sleep(20 * time.Millisecond)
		}
		if len(l.used) > 20 {
			t.Errorf("%d slots kept", len(l.used))
		}
	})
}

// TestBandwidthIsShared gives a node two downloads over one line.
func TestBandwidthIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		n.SetBandwidth(n.Node(2), Bandwidth{Down: 8_000_000})
		c, err := n.Dial(t.Context(), n.Node(3), Addr(n.Node(2)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		start := time.Now()
		const size = 400_000 // 0.4 s of the line
		for _, w := range []*Conn{a, c} {
			go w.Write(make([]byte, size))
		}
		if _, err := io.ReadFull(b, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		// The other download takes the same line, so both end by 0.8 s.
		if took := time.Since(start); took < 400*time.Millisecond || took > 800*time.Millisecond+testLatency {
			t.Errorf("took %v", took)
		}
		if _, took, _ := readAllOf(a, b); took > time.Second {
			t.Errorf("one byte took %v", took)
		}
	})
}

func readAllOf(w, r *Conn) (byte, time.Duration, error) {
	start := time.Now()
	b := []byte{1}
	w.Write(b)
	_, err := io.ReadFull(r, b)
	return b[0], time.Since(start), err
}
