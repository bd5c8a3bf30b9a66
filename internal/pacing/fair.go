package pacing

// cost is what one byte of a class counts: the inverse of its weight.
var cost = [Classes]int64{1, 4, 16}

// Fair decides which class may write next: fair queueing by virtual time. It is a
// value without clock or goroutine. The zero value is ready.
type Fair struct {
	time [Classes]int64 // virtual time up to which a class has been served
	busy [Classes]int   // writers of the class with something to write
}

// Enter adds a writer. A class that had none is not owed the time it was away.
func (s *Fair) Enter(class Class) {
	if s.busy[class] == 0 {
		if t, ok := s.floor(class); ok {
			s.time[class] = max(s.time[class], t)
		} else {
			s.time = [Classes]int64{}
		}
	}
	s.busy[class]++
}

// Leave removes a writer that has nothing to write, or is stalled.
func (s *Fair) Leave(class Class) { s.busy[class]-- }

// May tells whether a writer of the class may write now: no other class with
// something to write is behind it. Of two that are level, the higher goes
// first; it moves on with its next charge.
func (s *Fair) May(class Class) bool {
	for c := range Class(Classes) {
		if c == class || s.busy[c] == 0 {
			continue
		}
		if s.time[c] < s.time[class] || c < class && s.time[c] == s.time[class] {
			return false
		}
	}
	return true
}

// Charge books bytes that a class is about to write.
func (s *Fair) Charge(class Class, bytes int) { s.time[class] += int64(bytes) * cost[class] }

// floor is the least virtual time of the other busy classes.
func (s *Fair) floor(class Class) (t int64, ok bool) {
	for c := range Class(Classes) {
		if c == class || s.busy[c] == 0 {
			continue
		}
		if !ok || s.time[c] < t {
			t, ok = s.time[c], true
		}
	}
	return t, ok
}

// Pick chooses among the busy classes; ok is false when there is none.
func (s *Fair) Pick() (class Class, ok bool) {
	for c := range Class(Classes) {
		if s.busy[c] > 0 && s.May(c) {
			return c, true
		}
	}
	return 0, false
}

// Set makes a class that has one queue busy or not.
func (s *Fair) Set(class Class, busy bool) {
	switch {
	case busy && s.busy[class] == 0:
		s.Enter(class)
	case !busy && s.busy[class] > 0:
		s.Leave(class)
	}
}
