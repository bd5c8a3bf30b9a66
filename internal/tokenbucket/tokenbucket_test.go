package tokenbucket

import (
	"fmt"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTake(t *testing.T) {
	r := Rate{PerSecond: 10, Burst: 100}
	var b Bucket
	for i, step := range []struct {
		at   time.Duration
		n    float64
		want bool
	}{
		{0, 100, true}, {0, 1, false},
		{time.Second / 10, 1, true}, {time.Second / 10, 1, false},
		{time.Second, 9, true}, {time.Second, 1, false},
		{0, 1, false}, {time.Second, 1, false}, // a clock that goes back gives nothing twice
		{time.Hour, 101, false}, {time.Hour, 100, true}, {time.Hour, 1, false}, // saved is one burst
	} {
		if got := b.Take(r, t0.Add(step.at), step.n); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestWait(t *testing.T) {
	r := Rate{PerSecond: 2, Burst: 3}
	var b Bucket
	if w := b.Wait(r, t0, 3); w != 0 {
		t.Errorf("%s for what is there", w)
	}
	b.Take(r, t0, 3)
	if w := b.Wait(r, t0, 1); w != time.Second/2 {
		t.Errorf("%s for one, want 500 ms", w)
	}
	if w := b.Wait(r, t0.Add(time.Second), 3); w != time.Second/2 {
		t.Errorf("%s for three after a second, want 500 ms", w)
	}
	for what, w := range map[string]time.Duration{
		"more than the burst": b.Wait(r, t0, 4), "nothing comes back": b.Wait(Rate{Burst: 3}, t0, 1), "almost nothing": b.Wait(Rate{1e-300, 3}, t0, 1),
	} {
		if w != maxWait {
			t.Errorf("%s: %s", what, w)
		}
	}
}

func TestOwe(t *testing.T) {
	r := Rate{PerSecond: 100, Burst: 1000}
	var b Bucket
	b.Owe(r, t0, 1300, 4)
	if w := b.Wait(r, t0, 0); w != 3*time.Second {
		t.Errorf("a debt of 300 is paid in %s", w)
	}
	b.Owe(r, t0, 1<<30, 4)
	if w := b.Wait(r, t0, 0); w != 30*time.Second {
		t.Errorf("the most that is owed is paid in %s", w)
	}
}

func TestUsed(t *testing.T) {
	r := Rate{PerSecond: 1, Burst: 3}
	var b, full Bucket
	b.Take(r, t0, 2)
	if !full.Less(b) || b.Less(full) {
		t.Error("the order is wrong")
	}
	for after, want := range map[time.Duration]float64{-time.Hour: 2, 0: 2, time.Second: 1, time.Hour: 0} {
		if got := b.Used(r, t0.Add(after)); got != want {
			t.Errorf("%v used after %s, want %v", got, after, want)
		}
	}
}

func Example() {
	r := Rate{PerSecond: 1, Burst: 2} // two at once, and one more each second
	var b Bucket
	fmt.Println(b.Take(r, t0, 1), b.Take(r, t0, 1), b.Take(r, t0, 1))
	fmt.Println(b.Wait(r, t0, 1), b.Take(r, t0.Add(time.Second), 1))
	// Output:
	// true true false
	// 1s true
}
