package dispatcher

import "sync/atomic"

// queueSink is what the sinks with a queue have in common: counting, and the
// end.
type queueSink struct {
	q       *queue
	handled atomic.Uint64 // handed over; with cutBit, nothing more is

	// guarded by q.mu
	reason dropIndex // of what was not handed over when it was cut
	final  uint64    // handed over when it was cut
}

const cutBit = 1 << 63

// claim counts a message as handed over, and reports whether it may be: not any
// more when the sink was cut, and then it is counted as dropped.
func (s *queueSink) claim() bool { return s.handled.Add(1)&cutBit == 0 }

func (s *queueSink) cut() bool { return s.handled.Load()&cutBit != 0 }

func (s *queueSink) offer(msgs []Message, sizes []uint32, n *int) { s.q.offer(msgs, sizes, n) }
func (s *queueSink) evicted() []Message                           { return s.q.takeEvicted() }
func (s *queueSink) drain()                                       { s.q.close() }
func (s *queueSink) shrink()                                      { s.q.shrink() }

func (s *queueSink) retire(reason dropIndex) {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	if s.cut() {
		return
	}
	s.reason = reason
	s.final = s.handled.Or(cutBit)
	s.q.discardLocked()
}

// abort drops what waits, and what a worker holds when its call returns.
func (s *queueSink) abort() int {
	before := s.late()
	s.retire(iStopped)
	after := s.late()
	return int(after.drops[iStopped] - before.drops[iStopped])
}

func (s *queueSink) late() lateCounts {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	l := lateCounts{handled: s.handled.Load(), taken: s.q.in, drops: s.q.drops, known: true}
	if l.handled&cutBit != 0 {
		l.handled = s.final
		l.drops[s.reason] += l.taken - l.handled - l.drops.sum()
	}
	return l
}
