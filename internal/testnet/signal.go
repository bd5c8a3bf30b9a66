package testnet

import "time"

// signal wakes all who wait. It is guarded by the lock of what it speaks of.
type signal struct {
	c chan struct{}
}

// wait returns the channel that the next fire closes.
func (s *signal) wait() <-chan struct{} {
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) fire() {
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// await waits for c, and no longer than until if that is not zero. No lock may
// be held.
func await(c <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-c
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-c: // signal.fire
	case <-t.C:
	}
}

// earliest returns the earlier of two instants, of which a zero one is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// passed reports whether t has been reached. A zero t never is.
func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }
