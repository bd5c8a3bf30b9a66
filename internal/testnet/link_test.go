package testnet

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestRetransmitAt(t *testing.T) {
	const ms = time.Millisecond
	stalled := time.Unix(0, 0)
	for _, c := range []struct{ now, maxRTO, want time.Duration }{
		{0, time.Hour, 200 * ms},
		{200 * ms, time.Hour, 200 * ms},
		{201 * ms, time.Hour, 600 * ms},
		{1500 * ms, time.Hour, 3000 * ms},
		{1500 * ms, time.Second, 2400 * ms}, // 200, 600, 1400, 2400, 3400
		{2401 * ms, time.Second, 3400 * ms},
		{24 * time.Hour, time.Second, 24*time.Hour + 400*ms},
		{50 * ms, 10 * ms, 50 * ms},
	} {
		got := retransmitAt(stalled, stalled.Add(c.now), 200*ms, c.maxRTO).Sub(stalled)
		if got != c.want {
			t.Errorf("after %v, at most %v apart: %v, want %v", c.now, c.maxRTO, got, c.want)
		}
	}
}

func TestLinkDelay(t *testing.T) {
	a, b := netip.MustParseAddr("5.0.1.1"), netip.MustParseAddr("5.0.2.1")
	link := Link{Latency: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1}
	draw := func(r *rand.Rand) (ds []time.Duration, lost int) {
		for range 10_000 {
			d, again := link.delay(r, r.Float64(), time.Hour)
			if again {
				lost++
			}
			if d < link.Latency || !again && d >= link.Latency+link.Jitter || again && d < link.Latency+minRTO {
				t.Fatalf("delay %v, lost %v", d, again)
			}
			ds = append(ds, d)
		}
		return ds, lost
	}
	first, lost := draw(newLaneKey(1, a, b, 0, 0).at(time.Time{}))
	if lost < 800 || lost > 1200 {
		t.Errorf("%d of 10,000 lost, expected about 1,000", lost)
	}
	same, _ := draw(newLaneKey(1, a, b, 0, 0).at(time.Time{}))
	for i := range first {
		if first[i] != same[i] {
			t.Fatal("equal keys, different delays")
		}
	}
	for name, r := range map[string]*rand.Rand{
		"seed": newLaneKey(2, a, b, 0, 0).at(time.Time{}), "direction": newLaneKey(1, b, a, 0, 0).at(time.Time{}),
		"ordinal": newLaneKey(1, a, b, 1, 0).at(time.Time{}), "side": newLaneKey(1, a, b, 0, 1).at(time.Time{}),
	} {
		if ds, _ := draw(r); ds[0] == first[0] && ds[1] == first[1] {
			t.Errorf("another %s gives the same delays", name)
		}
	}
}
