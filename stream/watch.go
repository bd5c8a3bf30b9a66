package stream

import (
	"sync"
	"sync/atomic"
	"time"
)

// lookTime is how often a bridge looks whether both sides are still there while
// nobody reads from one of them, which is how the end of a connection is noticed
// otherwise: one direction has ended, or waits for the peer to take something.
const lookTime = 5 * time.Second

// stuffedTime is how long a direction may wait with a large buffer in its hands
// before it has to give it back.
const stuffedTime = time.Second

// watch is the one timer of a bridge. It is armed only while something has to
// be looked after, and looks at counters: nothing on the path of the data
// touches a clock.
type watch struct {
	b     *bridge
	idle  time.Duration
	stall time.Duration

	period atomic.Int64 // of the running timer, 0 when none runs; written with mu

	mu          sync.Mutex // guards the fields below
	timer       *time.Timer
	stopped     bool
	in, out     uint64    // the counters when they were last seen to move
	inMoved     time.Time // when that was
	outMoved    time.Time
	stuck       time.Time // when the write that still waits for the peer was first seen
	blocked     time.Time // since when the peer takes nothing, zero while it does
	refused     time.Time // since when it is known to refuse data, or gone, and no more comes
	stuffedFrom uint64    // in, when a full buffer was first seen
	stuffed     bool
}

func (w *watch) init(b *bridge, idle, stall time.Duration) {
	w.b, w.idle, w.stall = b, idle, stall
	if idle > 0 {
		w.arm()
	}
}

// arm makes sure that the watch looks soon enough.
func (w *watch) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inMoved.IsZero() {
		w.inMoved = time.Now()
		w.outMoved = w.inMoved
	}
	w.armLocked()
}

// looksWithin reports whether a timer runs that looks every d or sooner.
func (w *watch) looksWithin(d time.Duration) bool {
	p := time.Duration(w.period.Load())
	return p != 0 && p <= d
}

func (w *watch) armLocked() {
	want := w.wantLocked()
	if w.stopped || want == 0 || w.looksWithin(want) {
		return
	}
	w.period.Store(int64(want))
	if w.timer == nil {
		w.timer = time.AfterFunc(want, w.tick)
		return
	}
	w.timer.Reset(want)
}

// wantLocked is how often the watch has to look, 0 for never.
func (w *watch) wantLocked() time.Duration {
	var want time.Duration
	need := func(d time.Duration) {
		if want == 0 || d < want {
			want = max(d, time.Millisecond)
		}
	}
	if w.idle > 0 {
		need(w.idle / 4)
	}
	if half(w.b.outcomes()) {
		need(min(w.stall/4, lookTime))
	}
	if w.b.writing.Load() {
		need(lookTime)
	}
	if w.b.stuffed.Load() {
		need(stuffedTime)
	}
	return want
}

func (w *watch) tick() {
	if err := w.b.unnoticed(); err != nil {
		w.b.fail(err, false) // the local end may still read what it was sent
		return
	}
	w.mu.Lock()
	w.period.Store(0)
	if w.stopped {
		w.mu.Unlock()
		return
	}
	err := w.lookLocked(time.Now())
	if err == nil {
		w.armLocked()
	}
	w.mu.Unlock()
	if err != nil {
		w.b.s.kill(err)
	}
}

// lookLocked returns why the stream must end now, or nil.
func (w *watch) lookLocked(now time.Time) error {
	b := w.b
	up, down := b.outcomes()
	in, out := b.s.in.Load(), b.s.out.Load()
	inMoved, outMoved := in != w.in, out != w.out
	if inMoved {
		w.in, w.inMoved = in, now
	}
	if outMoved {
		w.out, w.outMoved = out, now
	}
	writing := up == running && b.writing.Load()
	if outMoved {
		w.stuck = time.Time{}
	}
	since(&w.stuck, writing, now)
	since(&w.blocked, writing && down != running && !outMoved, now)
	gone := b.stream.Conn().IsClosed()
	since(&w.refused, (up == broken || up == clean && gone) && down == running && !inMoved, now)
	if !w.stuck.IsZero() && now.Sub(w.stuck) >= lookTime {
		if err := socketError(b.local); err != nil {
			return err
		}
	}
	switch {
	case w.idle > 0 && now.Sub(w.inMoved) >= w.idle && now.Sub(w.outMoved) >= w.idle:
		return ErrIdle
	case !w.refused.IsZero() && now.Sub(w.refused) >= w.stall && gone:
		return errConnLost
	case !w.blocked.IsZero() && now.Sub(w.blocked) >= w.stall,
		!w.refused.IsZero() && now.Sub(w.refused) >= w.stall:
		return ErrStalled
	}
	w.releaseLocked(in)
	return nil
}

// since notes when a condition began to hold.
func since(t *time.Time, holds bool, now time.Time) {
	switch {
	case !holds:
		*t = time.Time{}
	case t.IsZero():
		*t = now
	}
}

// releaseLocked takes the large buffer from a read that has brought nothing
// since the last look.
func (w *watch) releaseLocked(in uint64) {
	if !w.b.stuffed.Load() {
		w.stuffed = false
		return
	}
	if w.stuffed && w.stuffedFrom == in && w.b.kind.deadlinesAreSafe() {
		_ = w.b.stream.SetReadDeadline(time.Unix(1, 0))
		w.stuffed = false
		return
	}
	w.stuffed, w.stuffedFrom = true, in
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// half tells that just one direction has ended.
func half(up, down outcome) bool { return (up == running) != (down == running) }

// unnoticed is what has happened to an end from which nobody reads any more.
func (b *bridge) unnoticed() error {
	switch up, down := b.outcomes(); {
	case up == clean && down == running:
		return socketError(b.local)
	case up == running && down != running && b.stream.Conn().IsClosed():
		return errConnLost
	}
	return nil
}

func (b *bridge) outcomes() (up, down outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up, b.down
}
