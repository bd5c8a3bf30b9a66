package session

import (
	"io"
	"sync"
	"time"
)

// ackEvery is the least time between two acknowledgements on a stream: each is
// an encrypted record and a system call.
const ackEvery = time.Millisecond

// acker acknowledges what has been read from one stream. A delayed
// acknowledgement is written by a goroutine of its own, which the session
// waits for.
type acker struct {
	s *Session
	w io.Writer

	mu    sync.Mutex // guards the fields below
	read  int64      // bytes
	acked int64      // bytes
	last  time.Duration
	timer *time.Timer
	armed bool
}

// add notes n bytes read, at the given time since the session began.
func (a *acker) add(n int, now time.Duration) {
	a.mu.Lock()
	a.read += int64(n)
	units := (a.read - a.acked) / ackUnit
	if units > 0 && now-a.last < ackEvery {
		a.armLocked()
		units = 0
	}
	a.takeLocked(units, now)
	a.mu.Unlock()
	a.write(units)
}

// takeLocked marks units as acknowledged.
func (a *acker) takeLocked(units int64, now time.Duration) {
	if units > 0 {
		a.acked += units * ackUnit
		a.last = now
	}
}

func (a *acker) armLocked() {
	switch {
	case a.armed:
	case a.timer == nil:
		a.timer = time.AfterFunc(ackEvery, func() { a.s.spawn(a.late) })
		a.armed = true
	default:
		a.timer.Reset(ackEvery)
		a.armed = true
	}
}

// late writes a delayed acknowledgement.
func (a *acker) late() {
	a.mu.Lock()
	a.armed = false
	units := (a.read - a.acked) / ackUnit
	a.takeLocked(units, a.s.since())
	a.mu.Unlock()
	a.write(units)
}

func (a *acker) write(units int64) {
	for units > 0 {
		n := min(units, 255)
		units -= n
		// An error of this shows up in the next read.
		if _, err := a.w.Write([]byte{byte(n)}); err != nil {
			return
		}
	}
}

func (a *acker) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
}
