package pacing

import (
	"slices"
	"testing"
	"time"
)

func TestTransit(t *testing.T) {
	var tr transit
	tr.forget(0)
	now := time.Millisecond
	if tr.due(now, 16<<10, false) {
		t.Error("a mark without anything written")
	}
	tr.reserve(High, 100)
	tr.reserve(Low, 1000)
	if tr.inFlight(all) != 1100 || tr.inFlight(high) != 100 {
		t.Errorf("on the way: %d, %d", tr.inFlight(all), tr.inFlight(high))
	}
	tr.reserve(Low, -1000)
	tr.wrote(Low, 1000)
	first := tr.make(now)
	tr.reserve(High, -100)
	tr.wrote(High, 100)
	second := tr.make(now)
	if m, ok := tr.came(second); !ok || m.inFlight != 1100 || tr.inFlight(all) != 0 {
		t.Errorf("%+v, %v, %d on the way", m, ok, tr.inFlight(all))
	}
	if _, ok := tr.came(first); ok || tr.inFlight(all) != 0 {
		t.Error("an older mark after a newer one says nothing")
	}
	// A quarter of the window is a mark, sooner when somebody waits.
	tr.wrote(Normal, 16<<10)
	for _, c := range []struct {
		now     time.Duration
		blocked bool
		want    bool
	}{{2 * time.Millisecond, false, false}, {2 * time.Millisecond, true, true}, {6 * time.Millisecond, false, true}} {
		if got := tr.due(c.now, 16<<10, c.blocked); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	// No more than the bucket holds, and few are out at once.
	n := 0
	for range 1000 {
		tr.wrote(Normal, 64<<10)
		if tr.due(6*time.Millisecond, 16<<10, true) {
			tr.came(tr.make(6 * time.Millisecond))
			n++
		}
	}
	if n > markBurst {
		t.Errorf("%d marks at once", n)
	}
	tr.forget(0)
	for range 100 {
		tr.wrote(Normal, 64<<10)
		if tr.due(time.Millisecond, 16<<10, true) {
			tr.make(time.Millisecond)
		}
	}
	if len(tr.marks) != maxMarks {
		t.Errorf("%d marks are out", len(tr.marks))
	}
	if !tr.due(time.Millisecond+markAgain, 16<<10, true) {
		t.Error("marks that do not come back are the end")
	}
	grace := 5 * time.Second
	slowest := grace + Allowance(tr.marks[0].inFlight)
	if tr.overdue(time.Millisecond+slowest, grace) || !tr.overdue(2*time.Millisecond+slowest, grace) {
		t.Error("overdue at another rate than the lowest")
	}
}

func TestWindowSteps(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		name         string
		now, delay   time.Duration
		at, inFlight int64
		sent         int64
		wants        Class
		idle         bool // nobody waits
		size         int64
		baseAfter    time.Duration
	}
	if size := new(window).size(); size != firstWindow {
		t.Errorf("begins with %d", size)
	}
	w := window{bytes: 32 << 10}
	for _, s := range []step{
		{name: "empty connection", now: 20 * ms, delay: 20 * ms, idle: true, size: 32 << 10, baseAfter: 20 * ms},
		{name: "not limited", now: 40 * ms, delay: 20 * ms, inFlight: 32 << 10, at: 32 << 10, sent: 32 << 10, idle: true, size: 32 << 10, baseAfter: 20 * ms},
		{name: "doubles", now: 60 * ms, delay: 21 * ms, inFlight: 32 << 10, at: 64 << 10, sent: 96 << 10, wants: Normal, size: 64 << 10, baseAfter: 20 * ms},
		{name: "of the round before", now: 61 * ms, delay: 500 * ms, inFlight: 32 << 10, at: 90 << 10, sent: 128 << 10, wants: Normal, size: 64 << 10, baseAfter: 20 * ms},
		{name: "too little on the way", now: 80 * ms, delay: 500 * ms, inFlight: 16 << 10, at: 128 << 10, sent: 160 << 10, wants: Normal, size: 64 << 10, baseAfter: 20 * ms},
		{name: "shrinks to the target", now: 300 * ms, delay: 250 * ms, inFlight: 64 << 10, at: 160 << 10, sent: 224 << 10, wants: Normal, size: 32 << 10, baseAfter: 20 * ms},
		{name: "gives way", now: 500 * ms, delay: 50 * ms, inFlight: 32 << 10, at: 224 << 10, sent: 256 << 10, wants: Low, size: 29491, baseAfter: 20 * ms},
		{name: "never below the least", now: 900 * ms, delay: time.Second, inFlight: 32 << 10, at: 256 << 10, sent: 300 << 10, wants: Low, size: minWindow, baseAfter: 20 * ms},
		{name: "grows in proportion", now: 1200 * ms, delay: 52 * ms, inFlight: 16 << 10, at: 300 << 10, sent: 320 << 10, wants: Normal, size: 20480, baseAfter: 20 * ms},
	} {
		if !s.idle {
			w.wait(s.now, s.wants)
		}
		w.arrived(s.now, s.delay, s.at, s.inFlight, s.sent)
		if w.size() != s.size || w.base != s.baseAfter {
			t.Errorf("%s: size %d, base %s", s.name, w.size(), w.base)
		}
	}
	// As long as the round trip without traffic is known, nobody waits for another one.
	w.bytes = 1 << 20
	w.wait(20*time.Second, Normal)
	if w.size() != 1<<20 || w.base != 20*ms {
		t.Errorf("size %d, base %s although the round trip is known", w.size(), w.base)
	}
	// Later it is measured again with little on the way.
	w.wait(20*time.Minute, Normal)
	if w.size() != minWindow {
		t.Errorf("%d while measuring", w.size())
	}
	w.arrived(20*time.Minute+time.Second, 90*ms, 400<<10, 1<<20, 500<<10)
	if w.size() != minWindow {
		t.Error("measured while the queue drains")
	}
	w.arrived(20*time.Minute+2*time.Second, 90*ms, 500<<10, 8<<10, 510<<10)
	if w.size() != 1<<20 || w.base != 90*ms {
		t.Errorf("measured: size %d, base %s", w.size(), w.base)
	}
}

// TestNear: delay on the way to a near end is a machine that is busy, and makes neither
// the window nor what is written at once small; farther away it is a queue.
func TestNear(t *testing.T) {
	for _, tt := range []struct {
		name         string
		rtt          time.Duration
		window       int64
		piece, chunk int64
	}{
		{"near", time.Millisecond, firstWindow, firstWindow, nearChunk},
		{"far", 3 * time.Millisecond, minWindow, minWindow / marksPerWindow, minChunk - muxHeader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBudget()
			b.Attach(func(uint64) {})
			w, now := &b.window, time.Second
			w.arrived(now, tt.rtt, 0, 0, 0)
			for at := int64(0); at < 100<<10; at += 1 << 10 { // each write and each mark takes long
				now += 100 * time.Millisecond
				w.wait(now, Low)
				w.arrived(now, 90*time.Millisecond, at, w.size(), at)
				b.chunks.add(4<<10, now, now+10*time.Millisecond)
			}
			if w.size() != tt.window || w.piece(now) != tt.piece {
				t.Errorf("a window of %d, want %d, in pieces of %d, want %d", w.size(), tt.window, w.piece(now), tt.piece)
			}
			if n := b.fitsLocked(&Flow{b: b, class: Low, want: 64 << 10}, now); int64(n) != tt.chunk {
				t.Errorf("%d bytes are written at once, want %d", n, tt.chunk)
			}
		})
	}
}

// TestPieces: what is left of a write is not a small piece of its own, and what a new
// connection begins with holds four pieces of a large broadcast.
func TestPieces(t *testing.T) {
	const head, kib = 16, 1 << 10
	for _, tt := range []struct {
		name         string
		window, want int
		pieces       []int
	}{
		{"of a broadcast, at the beginning", 0, 16*kib + head, []int{16*kib + head}},
		{"a small rest goes along", 60 * kib, 16*kib + head, []int{16*kib + head}},
		{"more is a piece of its own", 48 * kib, 16*kib + head, []int{12 * kib, 4*kib + head}},
		{"one frame of the multiplexer", 1 << 20, 64 * kib, []int{Largest, muxHeader}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBudget()
			b.Attach(func(uint64) {})
			b.window.base, b.window.bytes = 100*time.Millisecond, int64(tt.window)
			f := &Flow{b: b, class: Low, want: tt.want}
			var pieces []int
			for f.want > 0 {
				n := b.fitsLocked(f, time.Second)
				if n == 0 {
					t.Fatal("nothing has room")
				}
				pieces = append(pieces, n)
				f.want -= n
			}
			if !slices.Equal(pieces, tt.pieces) {
				t.Errorf("in pieces of %d, want %d", pieces, tt.pieces)
			}
		})
	}
}

// TestHalfRoom: a write has room when half of it has.
func TestHalfRoom(t *testing.T) {
	const window, kib = 48 << 10, 1 << 10
	for _, tt := range []struct{ inFlight, want int }{{0, 12 * kib}, {42 * kib, 12 * kib}, {42*kib + 1, 0}, {window, 0}} {
		b := NewBudget()
		b.Attach(func(uint64) {})
		b.window.base, b.window.bytes = 100*time.Millisecond, window
		b.transit.reserve(Low, tt.inFlight)
		if n := b.fitsLocked(&Flow{b: b, class: Low, want: 64 * kib}, time.Second); n != tt.want {
			t.Errorf("with %d on the way %d may be written, want %d", tt.inFlight, n, tt.want)
		}
	}
}

// TestFair plays writers that always have something to write.
func TestFair(t *testing.T) {
	tests := []struct {
		name  string
		busy  [Classes]int
		share [Classes]float64
	}{
		{"all", [Classes]int{1, 1, 1}, [Classes]float64{16. / 21, 4. / 21, 1. / 21}},
		{"high and low", [Classes]int{1, 0, 1}, [Classes]float64{16. / 17, 0, 1. / 17}},
		{"normal and low", [Classes]int{0, 1, 1}, [Classes]float64{0, 4. / 5, 1. / 5}},
		{"many writers are no more than one", [Classes]int{1, 9, 0}, [Classes]float64{4. / 5, 1. / 5, 0}},
		{"low alone", [Classes]int{0, 0, 1}, [Classes]float64{0, 0, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Fair
			for c, n := range tt.busy {
				for range n {
					s.Enter(Class(c))
				}
			}
			var got [Classes]float64
			const rounds = 10_000
			for range rounds {
				c, ok := s.Pick()
				if !ok {
					t.Fatal("nobody may write")
				}
				s.Charge(c, 1000)
				got[c] += 1. / rounds
			}
			for c := range Classes {
				if d := got[c] - tt.share[c]; d > 0.01 || d < -0.01 {
					t.Errorf("class %d has %.3f, want %.3f", c, got[c], tt.share[c])
				}
			}
		})
	}
}

// TestFairArrival plays a message that comes while a lower class is writing.
func TestFairArrival(t *testing.T) {
	var s Fair
	s.Enter(2)
	for range 1000 {
		s.Charge(2, 32<<10)
	}
	s.Enter(0)
	if s.May(2) || !s.May(0) {
		t.Error("the high one has to wait")
	}
	s.Charge(0, 100)
	s.Leave(0)
	if !s.May(2) {
		t.Error("low is held up by nobody")
	}
	// Low is not owed anything for the time it was away, nor does it owe.
	s.Leave(2)
	s.Enter(0)
	for range 1000 {
		s.Charge(0, 32<<10)
	}
	s.Enter(2)
	low := 0
	for range 1700 {
		c, _ := s.Pick()
		s.Charge(c, 1000)
		if c == 2 {
			low++
		}
	}
	if low < 90 || low > 110 {
		t.Errorf("low wrote %d of 1700", low)
	}
}

func TestChunks(t *testing.T) {
	var c chunker
	if c.size() != Largest {
		t.Error("a new connection")
	}
	now := time.Duration(0)
	for range 100 { // 1 MB/s
		c.add(4<<10, now, now+4*time.Millisecond)
		now += 4 * time.Millisecond
	}
	if c.size() != minChunk-muxHeader {
		t.Errorf("slow: %d", c.size())
	}
	// Twenty that overlap, 500 MB/s in all.
	for range 1000 {
		c.add(64<<10, now-20*130*time.Microsecond, now+130*time.Microsecond)
		now += 130 * time.Microsecond
	}
	if c.size() != Largest {
		t.Errorf("many at once on a fast connection: %d", c.size())
	}
	if d := c.stallAfter(1); d != 5*time.Millisecond {
		t.Error(d)
	}
}
