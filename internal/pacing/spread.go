package pacing

import "time"

// spreadFrom is the round trip from which writes are spread over it. Below it a
// timer is too coarse, and a burst of a whole window is small.
const spreadFrom = 2 * time.Millisecond

// spread keeps a window that has run empty from being filled again in one burst:
// the burst would be a queue of its own, of which the delay makes the window
// smaller than the line is. It has no clock: times are durations since the budget
// was made.
type spread struct {
	credit float64 // bytes that may be written at once; negative for some that were
	at     time.Duration
}

// rate is how many bytes a second a window brings, and a quarter more; 0 is no
// limit.
func (w *window) rate() float64 {
	if w.base < spreadFrom {
		return 0
	}
	return 1.25 * float64(w.size()) / w.base.Seconds()
}

// wait is how long until something may be written.
func (s *spread) wait(now time.Duration, w *window) time.Duration {
	rate := w.rate()
	if rate == 0 {
		return 0
	}
	s.credit = min(s.credit+(now-s.at).Seconds()*rate, float64(w.size()/marksPerWindow))
	s.at = now
	if s.credit >= 0 {
		return 0
	}
	return time.Duration(-s.credit / rate * 1e9)
}

// spend notes a write.
func (s *spread) spend(n int) { s.credit -= float64(n) }
