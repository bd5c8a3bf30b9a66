package session

import (
	"fmt"
	"testing"
	"time"
)

// TestSched plays writers that always have something to write.
func TestSched(t *testing.T) {
	tests := []struct {
		name  string
		busy  [classes]int
		share [classes]float64
	}{
		{"all", [classes]int{1, 1, 1}, [classes]float64{16. / 21, 4. / 21, 1. / 21}},
		{"high and low", [classes]int{1, 0, 1}, [classes]float64{16. / 17, 0, 1. / 17}},
		{"normal and low", [classes]int{0, 1, 1}, [classes]float64{0, 4. / 5, 1. / 5}},
		{"many writers are no more than one", [classes]int{1, 9, 0}, [classes]float64{4. / 5, 1. / 5, 0}},
		{"low alone", [classes]int{0, 0, 1}, [classes]float64{0, 0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s sched
			for c, n := range tt.busy {
				for range n {
					s.enter(c)
				}
			}
			var got [classes]float64
			const rounds = 10_000
			for range rounds {
				c, ok := s.pick()
				if !ok {
					t.Fatal("nobody may write")
				}
				s.charge(c, 1000)
				got[c] += 1. / rounds
			}
			for c := range classes {
				if d := got[c] - tt.share[c]; d > 0.01 || d < -0.01 {
					t.Errorf("class %d has %.3f, want %.3f", c, got[c], tt.share[c])
				}
			}
		})
	}
}

// TestSchedArrival plays a message that comes while a lower class is writing.
func TestSchedArrival(t *testing.T) {
	var s sched
	s.enter(2)
	for range 1000 {
		s.charge(2, 32<<10)
	}
	s.enter(0)
	if s.may(2) || !s.may(0) {
		t.Error("the high one has to wait")
	}
	s.charge(0, 100)
	s.leave(0)
	if !s.may(2) {
		t.Error("low is held up by nobody")
	}
	// Low is not owed anything for the time it was away, nor does it owe.
	s.leave(2)
	s.enter(0)
	for range 1000 {
		s.charge(0, 32<<10)
	}
	s.enter(2)
	low := 0
	for range 1700 {
		c, _ := s.pick()
		s.charge(c, 1000)
		if c == 2 {
			low++
		}
	}
	if low < 90 || low > 110 {
		t.Errorf("low wrote %d of 1700", low)
	}
}

func TestPace(t *testing.T) {
	tests := []struct {
		perChunk time.Duration // for 64 KiB
		high     int
		low      int
	}{
		{time.Microsecond, largeBlock, 32<<10 - muxHeader},
		{200 * time.Microsecond, largeBlock, 32<<10 - muxHeader},
		{1600 * time.Microsecond, 16<<10 - muxHeader, 16<<10 - muxHeader},
		{time.Second, minChunk - muxHeader, minChunk - muxHeader},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.perChunk), func(t *testing.T) {
			var p pace
			for range 100 {
				p.add(64<<10, tt.perChunk)
			}
			if h, l := p.chunk(0), p.chunk(2); h != tt.high || l != tt.low {
				t.Errorf("chunks of %d and %d, want %d and %d", h, l, tt.high, tt.low)
			}
			if d := p.stallAfter(); d < 5*time.Millisecond || d > 500*time.Millisecond {
				t.Errorf("stall after %s", d)
			}
		})
	}
	var fresh pace
	if fresh.chunk(0) != largeBlock {
		t.Error("a new stream does not begin with large chunks")
	}
}

func TestLiveness(t *testing.T) {
	const s = time.Second
	type step struct {
		now, life time.Duration
		act       liveAction
		next      time.Duration
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"traffic", []step{{3 * s, 2 * s, liveWait, 2 * s}, {5 * s, 5 * s, liveWait, 3 * s}, {8 * s, 7 * s, liveWait, 2 * s}}},
		{"answered", []step{{3 * s, 0, livePing, 3 * s}, {6 * s, 3*s + 1, liveWait, 1}, {6*s + 1, 3*s + 1, livePing, 3 * s}}},
		{"dead", []step{{3 * s, 0, livePing, 3 * s}, {6 * s, 0, liveWait, 2 * s}, {8 * s, 0, liveDead, 0}}},
		{"measured", []step{{29 * s, 28 * s, liveWait, 2 * s}, {31 * s, 30 * s, livePing, 3 * s}, {34 * s, 33 * s, liveWait, 2 * s}}},
		{"any byte will do", []step{{3 * s, 0, livePing, 3 * s}, {6 * s, 5 * s, liveWait, 2 * s}, {8 * s, 5 * s, livePing, 3 * s}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLiveness(3*s, 5*s)
			for i, st := range tt.steps {
				if act, next := l.step(st.now, st.life); act != st.act || next != st.next {
					t.Errorf("step %d: %v, %s; want %v, %s", i, act, next, st.act, st.next)
				}
			}
		})
	}
}
