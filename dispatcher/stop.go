package dispatcher

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Stop ends the dispatcher. From its call on nothing is admitted; publishers
// that wait get ErrClosed. What was admitted is handed over, handlers and
// subscriptions empty their queues, and every goroutine is waited for.
//
// It is bounded by ctx and by Config.StopTimeout, whichever is shorter. When
// three quarters of the time until then have passed, what still waits is
// dropped and counted as DropStopped, and the context of the handlers ends, so
// that those that heed it return in the last quarter. If anything was lost or
// has not returned, the error is an *UndeliveredError.
//
// Further calls wait for the first one and return its error. Stop before Start
// makes Start fail with ErrClosed. Stop must not be called by code of a
// subscriber: it would wait for itself.
func (d *Dispatcher) Stop(ctx context.Context) error {
	d.mu.Lock()
	was := state(d.state.Swap(uint32(stateStopped)))
	d.mu.Unlock()
	if was == stateStopped {
		select {
		case <-d.done:
			return d.stopErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if was == stateRunning {
		bound := d.cfg.StopTimeout
		if at, ok := ctx.Deadline(); ok {
			bound = min(bound, time.Until(at))
		}
		end, cancel := context.WithTimeout(ctx, bound)
		defer cancel()
		soft, cancelSoft := context.WithTimeout(ctx, bound*3/4)
		defer cancelSoft()
		d.stopErr = d.shutdown(soft, end)
	}
	d.cancel()
	for _, r := range *d.roomList.Load() {
		r.retireAll()
	}
	d.meter()
	close(d.done)
	return d.stopErr
}

// shutdown drains until soft ends and waits for goroutines until end does.
func (d *Dispatcher) shutdown(soft, end context.Context) error {
	lost := make(map[string]int)
	var stuck []string
	var holder *entry // whose code has not returned to the loop
	var begun int     // messages that it got

	rooms := *d.roomList.Load()
	for _, r := range rooms {
		r.close()
	}
	d.draining.Store(true)
	d.ready.signal()
	if !wait(d.loopDone, soft) {
		d.turn.over.Store(true)
		close(d.quit)
		d.cancel()
		if !wait(d.loopDone, end) {
			holder, begun = d.turn.end()
		}
	}
	if holder == nil {
		<-d.loopDone // it runs no code but ours, and is about to end
		maps.Copy(lost, d.lost)
	} else {
		stuck = append(stuck, holder.name)
		for _, r := range rooms {
			if n := r.left(holder, begun); n > 0 {
				lost[r.name] = n
			}
		}
		close(d.turn.reported)
	}
	tails := d.tails()
	for _, t := range tails {
		t.drain()
	}
	for _, t := range tails {
		wait(t.ended(), soft)
	}
	// The queues first: a handler that returns because its context has ended
	// would be called at once for what waits behind.
	for _, t := range tails {
		if closed(t.ended()) {
			continue
		}
		if n := t.abort(); n > 0 {
			lost[t.typ] += n
		}
	}
	if soft.Err() != nil {
		d.cancel()
	}
	for _, t := range tails {
		if !wait(t.ended(), end) {
			stuck = append(stuck, t.name)
		}
	}
	if len(lost) == 0 && len(stuck) == 0 {
		return nil
	}
	return &UndeliveredError{Types: lost, Stuck: stuck}
}

// wait waits for done, or for ctx to end.
func wait(done <-chan struct{}, ctx context.Context) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return closed(done)
	}
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// ending is a sink that has to be waited for.
type ending struct {
	tail
	name string
	typ  string
}

// tails returns the sinks of all subscribers, and of former ones whose code
// still runs, that hold messages or goroutines.
func (d *Dispatcher) tails() []ending {
	var all []ending
	for _, r := range *d.roomList.Load() {
		r.mu.Lock()
		entries := r.entries
		r.mu.Unlock()
		for _, e := range entries {
			if t, ok := e.sink.(tail); ok {
				all = append(all, ending{t, e.name, r.name})
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(all, d.former...)
}

// rememberLocked keeps a deregistered subscriber in mind until its code has
// returned.
func (d *Dispatcher) rememberLocked(r *room, t tail, name string) {
	d.former = slices.DeleteFunc(d.former, func(f ending) bool { return closed(f.ended()) })
	d.former = append(d.former, ending{t, name, r.name})
}

// abandon accounts for everything that is left in the room, and returns how
// many hand-overs did not happen. Only the loop calls it, as its last act.
func (r *room) abandon() (lost int) {
	entries := r.pull()
	limit := r.first + uint64(len(r.log.msgs)-r.head)
	for _, e := range entries {
		n := limit - e.next
		for i := r.head + int(e.next-r.first); i < len(r.log.msgs); i++ {
			r.flags[i] |= fStopped
		}
		e.next = limit
		e.round.offered += n
		e.round.drops[iStopped] += n
		lost += int(n)
	}
	r.front = limit
	r.settle(entries, limit)
	r.publish(entries, limit)
	return lost
}

// left is how many hand-overs did not happen. What the holder of the turn got in
// it was handed over, or is in its hands. Only Stop calls it, after turn.end and
// before reported is closed.
func (r *room) left(holder *entry, begun int) (lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		lost += int(r.seq - e.next)
		if e == holder {
			lost -= begun
		}
	}
	return lost
}

// retireLeft ends the sinks of those that have left and that the loop has not
// ended.
func (r *room) retireLeft(reason dropIndex) {
	r.mu.Lock()
	left := r.retired
	r.retired = nil
	r.mu.Unlock()
	for _, e := range left {
		e.sink.retire(reason)
	}
}

// retireAll ends the sinks of all subscribers.
func (r *room) retireAll() {
	r.retireLeft(iDeregistered)
	r.mu.Lock()
	entries := r.entries
	r.mu.Unlock()
	for _, e := range entries {
		e.sink.retire(iStopped)
	}
}
