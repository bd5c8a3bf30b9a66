package session

// cost is what one byte of a class counts: the inverse of its weight. High
// gets 16 bytes for 4 of normal and 1 of low, as long as all have something to
// write.
var cost = [classes]int64{1, 4, 16}

// sched decides which class may write next on one connection: fair queueing by
// virtual time. It is a value without clock or goroutine; writers that share a
// connection ask it before each chunk.
type sched struct {
	time [classes]int64 // virtual time up to which a class has been served
	busy [classes]int   // writers of the class with something to write
}

// enter adds a writer. A class that had none is not owed the time it was away.
func (s *sched) enter(class int) {
	if s.busy[class] == 0 {
		if t, ok := s.floor(class); ok {
			s.time[class] = max(s.time[class], t)
		} else {
			s.time = [classes]int64{}
		}
	}
	s.busy[class]++
}

// leave removes a writer that has nothing to write, or is stalled.
func (s *sched) leave(class int) { s.busy[class]-- }

// may tells whether a writer of the class may write now: no other class with
// something to write is behind it. Of two that are level, the higher goes
// first; it moves on with its next charge.
func (s *sched) may(class int) bool {
	for c := range classes {
		if c == class || s.busy[c] == 0 {
			continue
		}
		if s.time[c] < s.time[class] || c < class && s.time[c] == s.time[class] {
			return false
		}
	}
	return true
}

// charge books bytes that a class is about to write.
func (s *sched) charge(class, bytes int) { s.time[class] += int64(bytes) * cost[class] }

// floor is the least virtual time of the other busy classes.
func (s *sched) floor(class int) (t int64, ok bool) {
	for c := range classes {
		if c == class || s.busy[c] == 0 {
			continue
		}
		if !ok || s.time[c] < t {
			t, ok = s.time[c], true
		}
	}
	return t, ok
}

// pick chooses among the busy classes; ok is false when there is none.
func (s *sched) pick() (class int, ok bool) {
	for c := range classes {
		if s.busy[c] > 0 && s.may(c) {
			return c, true
		}
	}
	return 0, false
}

// set makes a class that has one queue busy or not.
func (s *sched) set(class int, busy bool) {
	switch {
	case busy && s.busy[class] == 0:
		s.enter(class)
	case !busy && s.busy[class] > 0:
		s.leave(class)
	}
}
