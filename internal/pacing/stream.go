package pacing

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// Stream is a stream of which the writes are paced, in pieces where that is
// needed, and the reads are signs of life. One Write at a time.
type Stream struct {
	network.Stream
	flow  *Flow
	class Class
	stall time.Duration

	mu       sync.Mutex // guards the fields below
	deadline time.Time  // for writing
	changed  chan struct{}
	ended    bool // nothing is written any more

	until time.Time // the writer's: the deadline that stall has set
}

// NewStream has the writes of a stream ask a budget.
func NewStream(st network.Stream, b *Budget, class Class) *Stream {
	return &Stream{Stream: st, flow: NewFlow(b), class: class, changed: make(chan struct{}, 1)}
}

// Patient has writes end with a timeout only when nothing of them has moved for a
// while, in place of their deadlines: SetWriteDeadline and SetDeadline for writing
// do nothing any more. It is called before the first write.
func (s *Stream) Patient(stall time.Duration) *Stream {
	s.stall = stall
	return s
}

// Read is Read, and a sign of life.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 {
		s.flow.b.Heard()
	}
	return n, err
}

// Write writes p in pieces, each when it may be on its way.
func (s *Stream) Write(p []byte) (n int, err error) {
	if len(p) == 0 {
		return s.Stream.Write(p)
	}
	for n < len(p) && err == nil {
		size := s.begin(len(p) - n)
		if size == 0 {
			// The stream or its deadline has ended meanwhile, and says so by itself.
			m, err := s.Stream.Write(p[n:])
			return n + m, err
		}
		var m int
		if err = s.extend(size); err == nil {
			m, err = s.Stream.Write(p[n : n+size])
		}
		s.flow.End(m)
		n += m
	}
	s.flow.Leave()
	return n, err
}

// extendStep is how much the deadline of a patient stream may be late: a timer for
// each write is a cost.
const extendStep = 5 * time.Second

// extend gives a patient stream's next write its time.
func (s *Stream) extend(size int) error {
	if s.stall == 0 {
		return nil
	}
	t := time.Now().Add(s.stall + Allowance(int64(size)))
	if !t.After(s.until) {
		return nil
	}
	s.until = t.Add(extendStep)
	return s.Stream.SetWriteDeadline(s.until)
}

// begin waits until some of n bytes may be written. It is 0 when there is nothing
// to wait for any more.
func (s *Stream) begin(n int) int {
	size, ok := s.flow.b.begin(s.flow, s.class, n)
	if ok {
		return size
	}
	for {
		ended, left := s.state()
		if ended {
			s.flow.cancel()
			return 0
		}
		var timeout <-chan time.Time
		var t *time.Timer
		if left > 0 {
			t = time.NewTimer(left)
			timeout = t.C
		}
		granted := false
		select {
		case <-s.flow.wake: // grantLocked
			granted = true
		case <-s.changed: // end, SetWriteDeadline
		case <-timeout:
		}
		if t != nil {
			t.Stop()
		}
		if granted {
			return s.flow.size
		}
	}
}

// state tells whether writing has ended, by itself or by its deadline, and how
// long is left until that; 0 is for ever.
func (s *Stream) state() (ended bool, left time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return true, 0
	}
	if s.deadline.IsZero() {
		return false, 0
	}
	left = time.Until(s.deadline)
	return left <= 0, left
}

// change tells a Write that waits to look again.
func (s *Stream) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default: // it has been told
	}
}

// end comes after the stream's own end: a Write that was let go before would put
// the rest of its bytes on a stream that still takes them.
func (s *Stream) end() { s.change(func() { s.ended = true }) }

// SetWriteDeadline applies to a Write under way, too.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	if s.stall > 0 {
		return nil
	}
	err := s.Stream.SetWriteDeadline(t)
	s.change(func() { s.deadline = t })
	return err
}

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error {
	if err := s.Stream.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// CloseWrite ends a Write that waits.
func (s *Stream) CloseWrite() error {
	defer s.end()
	return s.Stream.CloseWrite()
}

// Close ends a Write that waits.
func (s *Stream) Close() error {
	defer s.end()
	return s.Stream.Close()
}

// Reset ends a Write that waits.
func (s *Stream) Reset() error {
	defer s.end()
	return s.Stream.Reset()
}

// ResetWithError ends a Write that waits.
func (s *Stream) ResetWithError(code network.StreamErrorCode) error {
	defer s.end()
	return s.Stream.ResetWithError(code)
}
