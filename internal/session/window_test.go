package session

import (
	"fmt"
	"testing"
	"time"
)

// path is a connection with a rate, a round trip and a queue without end.
type path struct {
	rate float64 // bytes per second
	rtt  time.Duration
}

// run plays a sender that always has something to say for a while, and tells
// what it reached and how long its bytes queued in the last quarter.
func (p path) run(class int, quiet time.Duration, d time.Duration) (rate float64, queue time.Duration) {
	type chunk struct {
		at   time.Duration // when the acknowledgement arrives
		upto int64
	}
	var w window
	var now, free, worst time.Duration
	var sent, acked, late int64
	var inFlight []chunk
	for now < d {
		limit := w.limit(class)
		size := min(largeBlock, limit/4)
		if sent-acked+size <= limit {
			free = max(free, now) + time.Duration(float64(size)/p.rate*1e9)
			sent += size
			w.wrote(now, sent, acked)
			inFlight = append(inFlight, chunk{free + p.rtt, sent - sent%ackUnit})
			if now > d*3/4 {
				worst = max(worst, free-now)
			}
			continue
		}
		w.wait(now, sent)
		now, acked = inFlight[0].at, inFlight[0].upto
		inFlight = inFlight[1:]
		if now > d*3/4 && late == 0 {
			late = acked
		}
		w.ack(now, class, acked, quiet)
	}
	return float64(acked-late) / (d / 4).Seconds(), worst
}

func TestWindow(t *testing.T) {
	tests := []struct {
		path  path
		class int
		most  time.Duration // of queueing
	}{
		{path{1e6, 20 * time.Millisecond}, 2, 100 * time.Millisecond},
		{path{1e6, 20 * time.Millisecond}, 1, 250 * time.Millisecond},
		{path{12e6, 100 * time.Millisecond}, 2, 150 * time.Millisecond},
		{path{12e6, 100 * time.Millisecond}, 1, 250 * time.Millisecond},
		{path{100e6, 50 * time.Millisecond}, 2, 100 * time.Millisecond},
		{path{500e6, 100 * time.Microsecond}, 2, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		for _, quiet := range []time.Duration{0, tt.path.rtt} {
			t.Run(fmt.Sprintf("%.0fMBs/%s/class%d/quiet%s", tt.path.rate/1e6, tt.path.rtt, tt.class, quiet), func(t *testing.T) {
				rate, queue := tt.path.run(tt.class, quiet, 40*time.Second)
				if rate < 0.8*tt.path.rate || queue > tt.most {
					t.Errorf("%.1f MB/s, queue of %s", rate/1e6, queue)
				}
			})
		}
	}
}

func TestWindowBounds(t *testing.T) {
	var w window
	if w.limit(0) != maxWindow || w.limit(1) != minWindow || w.limit(2) != minWindow {
		t.Error("a new window")
	}
	// A receiver that hardly reads brings the window to its minimum, not below.
	w.size, w.base, w.probed = 8<<20, time.Millisecond, time.Hour
	now, sent := time.Hour, int64(0)
	for range 100 {
		w.wait(now, sent)
		sent = w.offset
		w.wrote(now, sent, sent-minWindow)
		now += time.Second
		w.ack(now, 2, sent, 0)
		w.probed = now
	}
	if w.size != minWindow || w.limit(2) != minWindow {
		t.Errorf("window of %d", w.size)
	}
	// A round that was broken off measures nothing.
	w.wait(now, sent)
	w.wrote(now, w.offset, sent)
	w.idle()
	w.ack(now+time.Hour, 2, w.offset, 0)
	if w.size != minWindow {
		t.Errorf("window of %d", w.size)
	}
}
