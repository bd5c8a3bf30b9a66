package discovery

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/random"
)

func exactly(d time.Duration) time.Duration { return d }

// play runs the schedule until the end and returns the times of each peer's
// asks; an ask takes no time.
func play(s *schedule, start time.Time, d time.Duration) map[peer.ID][]time.Duration {
	asks := map[peer.ID][]time.Duration{}
	for now := s.next(); !now.After(start.Add(d)); now = s.next() {
		for _, p := range s.take(now, maxAsking) {
			asks[p] = append(asks[p], now.Sub(start))
			s.done(now, p, false)
		}
	}
	return asks
}

func TestScheduleOfOneMeeting(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newSchedule(start, 30*time.Second, exactly)
	s.met(start, "a")
	asks := play(s, start, 95*time.Second)
	ms := time.Millisecond
	if want := []time.Duration{0, 250 * ms, 750 * ms, 1750 * ms, 3750 * ms}; !slices.Equal(asks["a"], want) {
		t.Errorf("a asked at %v, want %v", asks["a"], want)
	}
	if want := []time.Duration{30 * time.Second, 60 * time.Second, 90 * time.Second}; !slices.Equal(asks[anyone], want) {
		t.Errorf("anyone asked at %v, want %v", asks[anyone], want)
	}
	if len(s.pending) != 0 {
		t.Errorf("%d turns are left", len(s.pending))
	}
}

// As long as asks bring somebody new they follow soon one after the other, and then less
// and less often. The loss of a peer begins anew.
func TestScheduleOfTheNeedy(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newSchedule(start, 30*time.Second, exactly)
	var at []time.Duration
	now := start
	for i := range 9 {
		now = s.next()
		if got := s.take(now, maxAsking); len(got) != 1 || got[0] != anyone {
			t.Fatalf("ask %d: %q", i, got)
		}
		at = append(at, now.Sub(start)/time.Second)
		s.done(now, anyone, i == 1 || i == 2)
	}
	if want := []time.Duration{30, 60, 65, 70, 80, 100, 130, 160, 190}; !slices.Equal(at, want) {
		t.Errorf("asked at %v, want %v", at, want)
	}
	s.parted(now)
	if d := s.next().Sub(now); d != soonest {
		t.Errorf("the first ask after a loss comes after %s", d)
	}
	s.done(now, anyone, false)
	if d := s.next().Sub(now); d != 2*soonest {
		t.Errorf("the second comes after %s", d)
	}
}

func TestScheduleMetAgain(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newSchedule(start, time.Hour, exactly)
	s.met(start, "a")
	for i := range 3 {
		if got := s.take(start, maxAsking); len(got) != 1 {
			t.Fatalf("round %d: %v", i, got)
		}
		s.met(start, "a") // while the ask is under way
		if got := s.take(start, maxAsking); len(got) != 0 {
			t.Fatalf("asked %v twice at once", got)
		}
		s.done(start, "a", false)
	}
	s.met(start, "a")
	if got := len(play(s, start, time.Minute)["a"]); got != 1+len(pauses) {
		t.Errorf("asked %d times after the last meeting", got)
	}
}

func TestScheduleTakesNoMoreThanAreFree(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newSchedule(start, time.Second, exactly)
	for i := range 5 {
		s.met(start, peer.ID(strconv.Itoa(i)))
	}
	now := start.Add(time.Minute) // all are due, anyone too
	taken := map[peer.ID]bool{}
	for _, free := range []int{2, 0, 3, 1} {
		got := s.take(now, free)
		if len(got) != free {
			t.Fatalf("room for %d, took %d", free, len(got))
		}
		for _, p := range got {
			if taken[p] {
				t.Errorf("took %q twice", p)
			}
			taken[p] = true
		}
	}
	if got := s.take(now, 10); len(got) != 0 {
		t.Errorf("took %v", got)
	}
}

func TestScheduleIsBounded(t *testing.T) {
	start := time.Unix(1000, 0)
	s := newSchedule(start, time.Second, exactly)
	for i := range 2 * maxPending {
		s.met(start, peer.ID(strconv.Itoa(i)))
	}
	if len(s.pending) != maxPending {
		t.Errorf("%d turns", len(s.pending))
	}
}

func TestJitter(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 250 * time.Millisecond, 30 * time.Second} {
		for range 1000 {
			if got := jitter(random.Or(nil))(d); got < d-d/5 || got > d+d/5 {
				t.Fatalf("%v became %v", d, got)
			}
		}
	}
}
