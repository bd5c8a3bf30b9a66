package session

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gate lets the writers of one connection write in the order that sched
// decides. It is held for the decision only, never during a write: a writer
// whose receiver is stalled does not hold up the others.
type gate struct {
	mu    sync.Mutex // guards the fields below
	sched sched
	slots []*slot
	turn  notice
}

// slot is one writer at the gate. Its fields belong to the gate.
type slot struct {
	class   int
	inWrite bool
	since   time.Time // of the write under way
	stalled bool      // the write takes so long that nobody waits for it
}

func (g *gate) enter(sl *slot, class int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sl.class = class
	g.sched.enter(class)
	g.slots = append(g.slots, sl)
}

func (g *gate) leave(sl *slot) {
	g.mu.Lock()
	if !sl.stalled {
		g.sched.leave(sl.class)
	}
	g.slots = slices.DeleteFunc(g.slots, func(o *slot) bool { return o == sl })
	g.mu.Unlock()
	g.turn.signal()
}

// acquire waits for the writer's turn to write some bytes.
func (g *gate) acquire(ctx context.Context, sl *slot, class, bytes int, p *pace) (time.Time, error) {
	for {
		now := time.Now()
		if _, ok := g.try(sl, class, bytes, p, now); ok {
			g.turn.signal()
			return now, nil
		}
		turn := g.turn.wait()
		wait, ok := g.try(sl, class, bytes, p, now)
		if ok {
			g.turn.done()
			g.turn.signal()
			return now, nil
		}
		t := time.NewTimer(wait)
		select {
		case <-turn: // another writer
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		g.turn.done()
		if ctx.Err() != nil {
			return now, context.Cause(ctx)
		}
	}
}

// try takes the turn when it is the writer's; if not, it tells when to look
// for stalled writers again.
func (g *gate) try(sl *slot, class, bytes int, p *pace, now time.Time) (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if class != sl.class {
		g.sched.leave(sl.class)
		g.sched.enter(class)
		sl.class = class
	}
	limit := p.stallAfter()
	wait := limit
	if !g.sched.may(class) {
		for _, o := range g.slots {
			if o == sl || !o.inWrite || o.stalled {
				continue
			}
			if left := limit - now.Sub(o.since); left > 0 {
				wait = min(wait, left)
				continue
			}
			o.stalled = true
			g.sched.leave(o.class)
		}
		if !g.sched.may(class) {
			return wait, false
		}
	}
	g.sched.charge(class, bytes)
	sl.inWrite, sl.since = true, now
	return 0, true
}

// release ends a write.
func (g *gate) release(sl *slot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sl.inWrite = false
	if sl.stalled {
		sl.stalled = false
		g.sched.enter(sl.class)
	}
}
