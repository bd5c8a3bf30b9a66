package dispatcher

import "sync/atomic"

// turn is what the loop takes before it runs code of the user's, and gives back
// after it. Stop ends it when it has no more time: from then on the loop cannot
// take it, so that nothing is delivered behind the back of Stop.
type turn struct {
	over     atomic.Bool           // no more time to hand over
	holder   atomic.Pointer[entry] // whose code runs; nil, or one of the two below
	ended    entry                 // Stop came while no code ran
	frozen   entry                 // Stop came while code ran, and reads what the loop has noted
	reported chan struct{}         // closed when Stop has read it

	held int // messages in the hands of the holder; set by the loop while holder is nil
}

// take reports whether the code may run and, if so, that n messages are in its
// hands. Only the loop calls it.
func (t *turn) take(e *entry, n int) bool {
	if t.over.Load() {
		return false
	}
	t.held = n
	return t.holder.CompareAndSwap(nil, e)
}

// give says that the code has returned. It may be called although the turn was
// not taken, after a panic. Only the loop calls it.
func (t *turn) give(e *entry) {
	if t.holder.CompareAndSwap(e, nil) || t.holder.Load() != &t.frozen {
		return
	}
	<-t.reported // closed by Stop
}

// end returns whose code runs, or nil. If it is not nil, what the loop owns
// may be read until reported is closed. Only Stop calls it, after it has set
// over.
func (t *turn) end() *entry {
	for {
		e := t.holder.Load()
		mark := &t.frozen
		if e == nil {
			mark = &t.ended
		}
		if t.holder.CompareAndSwap(e, mark) {
			return e
		}
	}
}
