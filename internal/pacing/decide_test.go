package pacing

import (
	"testing"
	"time"
)

func TestTransit(t *testing.T) {
	var tr transit
	tr.forget(0)
	now := time.Millisecond
	if tr.due(now, 64<<10, false) {
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
		if got := tr.due(c.now, 64<<10, c.blocked); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	// No more than the bucket holds, and few are out at once.
	n := 0
	for range 1000 {
		tr.wrote(Normal, 64<<10)
		if tr.due(6*time.Millisecond, 64<<10, true) {
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
		if tr.due(time.Millisecond, 64<<10, true) {
			tr.make(time.Millisecond)
		}
	}
	if len(tr.marks) != maxMarks {
		t.Errorf("%d marks are out", len(tr.marks))
	}
	if !tr.due(time.Millisecond+markAgain, 64<<10, true) {
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
		name            string
		now, delay      time.Duration
		at, inFlight    int64
		sent            int64
		wants           Class
		idle            bool // nobody waits
		size            int64
		baseAfter       time.Duration
		probingExpected bool
	}
	var w window
	for _, s := range []step{
		{name: "empty connection", now: 20 * ms, delay: 20 * ms, idle: true, size: firstWindow},
		{name: "not limited", now: 40 * ms, delay: 20 * ms, inFlight: 32 << 10, at: 32 << 10, sent: 32 << 10, idle: true, size: firstWindow},
		{name: "doubles", now: 60 * ms, delay: 21 * ms, inFlight: 32 << 10, at: 64 << 10, sent: 96 << 10, wants: Normal, size: 64 << 10, baseAfter: 20 * ms},
		{name: "of the round before", now: 61 * ms, delay: 500 * ms, inFlight: 32 << 10, at: 90 << 10, sent: 128 << 10, wants: Normal, size: 64 << 10, baseAfter: 20 * ms},
		{name: "too little on the way", now: 80 * ms, delay: 500 * ms, inFlight: 16 << 10, at: 128 << 10, sent: 160 << 10, wants: Normal, size: 64 << 10, baseAfter: 20 * ms},
		{name: "shrinks to the target", now: 300 * ms, delay: 250 * ms, inFlight: 64 << 10, at: 160 << 10, sent: 224 << 10, wants: Normal, size: 32 << 10, baseAfter: 20 * ms},
		{name: "gives way", now: 500 * ms, delay: 50 * ms, inFlight: 32 << 10, at: 224 << 10, sent: 256 << 10, wants: Low, size: 22937, baseAfter: 20 * ms},
		{name: "never below the least", now: 900 * ms, delay: time.Second, inFlight: 32 << 10, at: 256 << 10, sent: 300 << 10, wants: Low, size: minWindow, baseAfter: 20 * ms},
		{name: "grows in proportion", now: 1200 * ms, delay: 100 * ms, inFlight: 16 << 10, at: 300 << 10, sent: 320 << 10, wants: Normal, size: 20480, baseAfter: 20 * ms},
	} {
		if !s.idle {
			w.wait(s.now, s.wants)
		}
		w.arrived(s.now, s.delay, s.at, s.inFlight, s.sent)
		if w.size() != s.size || w.base != s.baseAfter {
			t.Errorf("%s: size %d, base %s", s.name, w.size(), w.base)
		}
	}
	// After a while the round trip is measured again with little on the way.
	w.bytes = 1 << 20
	w.wait(20*time.Second, Normal)
	if w.size() != minWindow {
		t.Errorf("%d while measuring", w.size())
	}
	w.arrived(21*time.Second, 90*ms, 400<<10, 1<<20, 500<<10)
	if w.size() != minWindow {
		t.Error("measured while the queue drains")
	}
	w.arrived(22*time.Second, 90*ms, 500<<10, 8<<10, 510<<10)
	if w.size() != 1<<20 || w.base != 90*ms {
		t.Errorf("measured: size %d, base %s", w.size(), w.base)
	}
}

func TestFair(t *testing.T) {
	var f Fair
	var got [Classes]int
	f.Enter(High)
	f.Enter(Normal)
	f.Enter(Low)
	for range 2100 {
		c, ok := f.Pick()
		if !ok {
			t.Fatal("nobody")
		}
		f.Charge(c, 1000)
		got[c]++
	}
	if got != [Classes]int{1600, 400, 100} {
		t.Errorf("shares %v", got)
	}
	// Who was away is owed nothing.
	f.Leave(High)
	for range 100 {
		c, _ := f.Pick()
		f.Charge(c, 1000)
	}
	f.Enter(High)
	n := 0
	for range 21 {
		c, _ := f.Pick()
		f.Charge(c, 1000)
		if c == High {
			n++
		}
	}
	if n > 17 {
		t.Errorf("%d of 21 after it was away", n)
	}
}

func TestChunks(t *testing.T) {
	var c chunker
	if c.size() != largest {
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
	if c.size() != largest {
		t.Errorf("many at once on a fast connection: %d", c.size())
	}
	if d := c.stallAfter(1); d != 5*time.Millisecond {
		t.Error(d)
	}
}
