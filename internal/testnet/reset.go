package testnet

import "time"

// sendResetLocked sends a reset along lane i at t. A blocked lane loses it.
func (f *flow) sendResetLocked(i int, t time.Time) {
	l, dst := &f.lanes[i], &f.ends[1-i]
	if l.blocked || dst.dead() {
		return
	}
	at := t.Add(l.resetDelay(t))
	// It follows what left before it, though it does not wait for a
	// retransmission: what is still to come then finds the connection gone.
	for _, s := range l.queue {
		if s.lost || s.blackholed || s.leaves.After(t) {
			break
		}
		if s.arrives.After(at) {
			at = s.arrives
		}
	}
	f.resetEndLocked(1-i, at)
}

// resetEndLocked makes end i learn of a reset at t.
func (f *flow) resetEndLocked(i int, t time.Time) {
	e := &f.ends[i]
	if e.dead() || !e.reset.IsZero() && !t.Before(e.reset) {
		return
	}
	if e.reset.IsZero() {
		e.node.resets.Add(1)
	}
	e.reset = t
	in := &f.lanes[1-i]
	keep := 0
	for keep < len(in.queue) && !in.queue[keep].blackholed && !in.queue[keep].arrives.After(t) {
		keep++
	}
	f.truncateLocked(1-i, keep)
	e.readable.fire()
	e.writable.fire()
}

// truncateLocked drops all but the first keep segments of lane i.
func (f *flow) truncateLocked(i, keep int) {
	l := &f.lanes[i]
	for _, s := range l.queue[keep:] {
		l.size -= len(s.data)
	}
	clear(l.queue[keep:])
	l.queue = l.queue[:keep]
}

// resetBoth ends the flow at both ends at once.
func (f *flow) resetBoth() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.resetEndLocked(0, now)
	f.resetEndLocked(1, now)
}
