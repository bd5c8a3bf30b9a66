package dispatcher

import "time"

// How long messages wait is measured of one message a tick and type: a time for
// each of them would cost more than the rest of its way. The sample is marked when
// it is admitted, and its wait ends when the subscriber has it: in its channel, or
// in the hands of the goroutine behind its queue.

// sample is the message of a topic whose wait is measured. It is guarded by the
// topic's mutex.
type sample struct {
	wanted bool      // set by the tick: the next message is the one
	at     time.Time // when it was admitted; zero without one
	seq    uint64    // its position
}

// markLocked makes the message that has just been admitted the sample.
func (s *sample) markLocked(seq uint64) { *s = sample{at: time.Now(), seq: seq} }

// takeLocked takes the sample if it is among the next n messages from first on, and
// tells which one it is.
func (s *sample) takeLocked(first uint64, n int) (at time.Time, index int) {
	if s.at.IsZero() || s.seq-first >= uint64(n) {
		return time.Time{}, 0
	}
	at, index = s.at, int(s.seq-first)
	*s = sample{}
	return at, index
}

// waiting is a sample in the queue of a subscription. It is guarded by the
// subscription's mutex.
type waiting struct {
	at  time.Time // zero without one
	end uint64    // first position of the queue that is behind it
}

// sampleLocked notes that the sample was offered: its wait ends now, or when the
// queue has come as far as it is now. Messages of the same block that came after it
// are taken for a part of it.
func (s *subscription) sampleLocked(at time.Time) {
	switch {
	case s.queue.n == 0:
		s.topic.waited(at)
	case s.waiting.at.IsZero():
		s.waiting = waiting{at, s.queue.first + uint64(s.queue.n)}
	}
}

// waitedLocked ends the wait of the sample when it has been taken from the queue.
func (s *subscription) waitedLocked() {
	if s.queue.first >= s.waiting.end || s.queue.n == 0 {
		s.topic.waited(s.waiting.at)
		s.waiting = waiting{}
	}
}

func (t *topic) waited(since time.Time) {
	t.wait.Update(time.Since(since).Microseconds())
}
