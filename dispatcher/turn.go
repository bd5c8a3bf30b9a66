package dispatcher

import "sync/atomic"

// turn is what the loop takes before it runs code of the user's, and gives back
// after it. Stop ends it when it has no more time: from then on the loop cannot
// take it, so that nothing is delivered behind the back of Stop.
type turn struct {
	over     atomic.Bool   // no more time to hand over
	begun    atomic.Uint64 // messages that got to the holder in its turn, 0 without one; with endedBit
	holder   *entry        // whose code runs; the loop's, for Stop to read between end and reported
	reported chan struct{} // closed when Stop has read what the loop has noted
}

const endedBit = 1 << 63

// take reports whether the code may run and, if so, that n messages, at least
// one, get to it. Only the loop calls it.
func (t *turn) take(e *entry, n int) bool {
	if t.over.Load() {
		return false
	}
	t.holder = e
	return t.begun.CompareAndSwap(0, uint64(n))
}

// renew reports whether the turn goes on with a further message. If not, it has
// yet to be given back. Only the loop calls it.
func (t *turn) renew() bool { return !t.over.Load() && t.begun.Add(1)&endedBit == 0 }

// give says that the code has returned. It may be called although the turn was
// not taken, after a panic. Only the loop calls it.
func (t *turn) give() {
	if was := t.begun.And(endedBit); was > endedBit {
		<-t.reported // closed by Stop
	}
}

// end returns whose code runs, or nil, and how many messages got to it in this
// turn. If there is one, what the loop owns may be read until reported is closed,
// except for what the code's call was about to change. Only Stop calls it.
func (t *turn) end() (holder *entry, begun int) {
	n := t.begun.Or(endedBit)
	if n == 0 {
		return nil, 0
	}
	return t.holder, int(n)
}
