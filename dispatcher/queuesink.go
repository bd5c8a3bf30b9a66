package dispatcher

import "sync/atomic"

// queueSink is what the sinks with a queue have in common: counting, and the
// end.
type queueSink struct {
	q       *queue
	handled atomic.Uint64 // handed over
	cut     atomic.Bool   // hand over nothing more
	reason  atomic.Uint32 // the dropIndex of what was not handed over then
}

func (s *queueSink) offer(msgs []Message, sizes []uint32, n *int) { s.q.offer(msgs, sizes, n) }
func (s *queueSink) evicted() []Message                           { return s.q.takeEvicted() }
func (s *queueSink) drain()                                       { s.q.close() }
func (s *queueSink) shrink()                                      { s.q.shrink() }

func (s *queueSink) retire(reason dropIndex) {
	if s.cut.Load() {
		return
	}
	s.reason.Store(uint32(reason))
	s.cut.Store(true)
	s.q.discard()
}

// abort drops what waits, and what a worker holds when its call returns.
func (s *queueSink) abort() int {
	before := s.late()
	s.retire(iStopped)
	after := s.late()
	return int(after.drops[iStopped] - before.drops[iStopped])
}

func (s *queueSink) late() lateCounts {
	l := lateCounts{handled: s.handled.Load(), known: true}
	l.taken, l.drops = s.q.counts()
	if s.cut.Load() {
		l.drops[s.reason.Load()] += l.taken - l.handled - l.drops.sum()
	}
	return l
}
