package session

import (
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/tokenbucket"
)

const (
	// maxSendStreams bounds the message streams that this side has open in a
	// session. Types beyond take turns: one that is idle gives its stream up.
	// Fewer than a QUIC connection carries, with room for others.
	maxSendStreams = 128
	// earlyStreams is the bound in the first second: the peer may still be
	// finishing its side of the handshake, and lets no more than 64 wait for it.
	earlyStreams = 48
)

// streamRate is how many message streams a peer may open a second, and at once,
// when it may send so many types: each may need one at the same moment, and again
// when it has been idle.
func (c *Config) streamRate(types int) tokenbucket.Rate {
	return tokenbucket.Rate{PerSecond: c.StreamRate + float64(types), Burst: float64(c.StreamBurst + types)}
}

// streamSlots counts the message streams that this side has open. Guarded by the
// session's lock.
type streamSlots struct {
	open   int
	ending int // of them, that are being closed to make room
	opened tokenbucket.Bucket
}

// maxEnding bounds the streams that are closed at once to make room.
const maxEnding = 32

// take tells whether a stream may be opened now, in a session of that age, and if not,
// for how long that is so for certain: 0 when one has to be closed first. It stays at
// three quarters of what the peer allows.
func (s *streamSlots) take(now time.Time, age time.Duration, allowed tokenbucket.Rate) (wait time.Duration, ok bool) {
	most := maxSendStreams
	if age < time.Second {
		most = earlyStreams
	}
	switch {
	case s.open >= most:
		return 0, false
	case !s.opened.Take(tokenbucket.Rate{PerSecond: allowed.PerSecond * 3 / 4, Burst: allowed.Burst * 3 / 4}, now, 1):
		return time.Duration(float64(time.Second) / allowed.PerSecond), false
	}
	s.open++
	return 0, true
}

// acquireStream waits until a stream may be opened, and gives it its slot.
func (s *Session) acquireStream() (*sendStream, error) {
	for {
		changed := s.progress.wait()
		s.mu.Lock()
		wait, ok := s.slots.take(time.Now(), s.since(), s.e.cfg.streamRate(len(s.book.entries)))
		s.mu.Unlock()
		if ok {
			s.progress.done()
			return &sendStream{s: s, finished: make(chan struct{})}, nil
		}
		if wait == 0 {
			s.finishLongestIdle()
			wait = time.Second // until earlyStreams no longer counts
		}
		t := time.NewTimer(wait)
		select {
		case <-changed: // releaseStream, a writer that idles
		case <-t.C:
		case <-s.ctx.Done():
		}
		t.Stop()
		s.progress.done()
		if s.ctx.Err() != nil {
			return nil, net.ErrClosed
		}
	}
}

// release gives the slot of a stream back, once.
func (st *sendStream) release() {
	st.s.mu.Lock()
	if st.released {
		st.s.mu.Unlock()
		return
	}
	st.released = true
	st.s.slots.open--
	if st.ending {
		st.s.slots.ending--
	}
	st.s.mu.Unlock()
	st.s.progress.signal()
}

// finishLongestIdle closes the stream that has been without traffic for longest,
// unless enough of them are being closed.
func (s *Session) finishLongestIdle() {
	s.mu.Lock()
	enough := s.slots.ending >= maxEnding
	s.mu.Unlock()
	if enough {
		return
	}
	var idle *sendQueue
	var since time.Duration
	for q := range s.queues() {
		q.mu.Lock()
		if q.stream != nil && !q.writing && (idle == nil || q.idleSince < since) {
			idle, since = q, q.idleSince
		}
		q.mu.Unlock()
	}
	if idle == nil {
		return
	}
	idle.mu.Lock()
	defer idle.mu.Unlock()
	if st := idle.stream; st != nil && !idle.writing && idle.finishLocked() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !st.released {
			st.ending = true
			s.slots.ending++
		}
	}
}

// finishLocked begins to close the stream. It is false when the session is being
// cut off, and the stream with it.
func (o *sendQueue) finishLocked() bool {
	st := o.stream
	if !o.s.spawn(func() { o.finish(st) }) {
		return false
	}
	o.stream, o.finishing = nil, st
	return true
}

func (st *sendStream) reset(code network.StreamErrorCode) {
	st.raw.ResetWithError(code)
	st.release()
}
