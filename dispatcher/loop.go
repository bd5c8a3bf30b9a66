package dispatcher

import (
	"slices"
	"sync"
	"time"
)

const (
	quantum = 64   // messages a round hands over per unit of weight while several types have a backlog
	alone   = 2048 // messages it hands over of the only type that has one
)

// readyList holds the rooms in which there is something to do.
type readyList struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex // guards rooms
	rooms []*room
}

func (l *readyList) push(r *room) {
	l.mu.Lock()
	l.rooms = append(l.rooms, r)
	first := len(l.rooms) == 1
	l.mu.Unlock()
	if first {
		l.signal()
	}
}

func (l *readyList) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *readyList) take(active []*room) []*room {
	l.mu.Lock()
	defer l.mu.Unlock()
	active = append(active, l.rooms...)
	clear(l.rooms)
	l.rooms = l.rooms[:0]
	return active
}

// loop hands messages over until Stop has everything handed over or no more
// time. It never blocks while there is something to do: a subscriber without
// room leaves its room until it signals.
func (d *Dispatcher) loop(active []*room) {
	returned := false
	defer func() {
		if !returned {
			// Subscriber code has ended this goroutine. Every room is looked
			// at again: which one it was does not matter.
			go d.loop(slices.Clone(*d.roomList.Load()))
			return
		}
		d.abandon()
		close(d.loopDone)
	}()
	ticker := time.NewTicker(d.cfg.TickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-d.quit: // from Stop, whose time to drain is over
			returned = true
			return
		case <-ticker.C:
			d.tick()
		default:
			if len(active) == 0 {
				if d.draining.Load() && d.empty() {
					returned = true
					return
				}
				select {
				case <-d.quit:
				case <-ticker.C:
					d.tick()
				case <-d.ready.wake: // from publishers, and subscribers with room again
				}
			}
		}
		active = d.pass(d.ready.take(active))
	}
}

// pass gives every room its share and returns those that want more. It is a
// deficit round robin whose packets all have size 1, so there is no deficit to
// carry over.
func (d *Dispatcher) pass(active []*room) []*room {
	keep := active[:0]
	for _, r := range active {
		if d.turn.over.Load() {
			return nil
		}
		budget := alone
		if len(active) > 1 {
			r.mu.Lock()
			budget = quantum * r.weight
			r.mu.Unlock()
		}
		if r.do(budget) {
			keep = append(keep, r)
		}
	}
	clear(active[len(keep):])
	return keep
}

// abandon accounts for what was not handed over in time.
func (d *Dispatcher) abandon() {
	d.lost = make(map[string]int)
	for _, r := range *d.roomList.Load() {
		if n := r.abandon(); n > 0 {
			d.lost[r.name] = n
		}
	}
}

// empty tells whether nothing waits in any room.
func (d *Dispatcher) empty() bool {
	for _, r := range *d.roomList.Load() {
		if !r.empty() {
			return false
		}
	}
	return true
}

// tick brings the metrics up to date, gives memory back, and tries those subscribers again that
// have waited for a signal: one that forgot it is late by a tick at most.
func (d *Dispatcher) tick() {
	for _, r := range *d.roomList.Load() {
		if r.tick() {
			r.wake()
		}
		r.shrink()
	}
	d.meter()
}

// tick prepares parked entries for another try and reports whether there are
// any.
func (r *room) tick() (parked bool) {
	r.mu.Lock()
	entries := r.entries
	r.mu.Unlock()
	for _, e := range entries {
		if e.parked {
			e.signal.Store(true)
			parked = true
		}
	}
	return parked
}

func (r *room) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.in.msgs)+r.backlog == 0
}
