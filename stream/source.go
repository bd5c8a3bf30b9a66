package stream

import (
	"io"
	"net"
	"syscall"
)

// source reads a local connection such that no buffer is held while there is
// nothing to read.
type source struct {
	bufs buffers
	buf  *buffer
	bulk bool   // the next read should have a large buffer
	data []byte // of the last read

	// With a socket, wait is the runtime's own poller: poll is called when the
	// socket may be readable, takes a buffer, and gives it back if it is not.
	raw  syscall.RawConn
	poll func(fd uintptr) bool
	err  error

	// Otherwise reads go through a small buffer until one fills it.
	conn  io.Reader
	small []byte
}

func newSource(c net.Conn, bufs buffers) *source {
	s := &source{bufs: bufs, conn: c}
	if sc, ok := c.(syscall.Conn); ok && canPoll {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
			s.poll = s.tryRead
			return s
		}
	}
	s.small = make([]byte, peekSize)
	return s
}

// next returns what was read, valid until the call after. Data and an error may
// come together.
func (s *source) next() ([]byte, error) {
	if s.raw == nil {
		return s.nextPlain()
	}
	s.data, s.err = nil, nil
	if err := s.raw.Read(s.poll); err != nil {
		s.release()
		return nil, err
	}
	return s.data, s.err
}

// nextPlain reads with a pooled buffer for as long as reads bring more than fits
// the small one.
func (s *source) nextPlain() ([]byte, error) {
	if s.buf == nil {
		n, err := s.conn.Read(s.small)
		if n == len(s.small) {
			s.take()
		}
		return s.small[:n], err
	}
	buf := s.take()
	n, err := s.conn.Read(buf)
	s.bulk = bulky(n, len(buf))
	if n >= peekSize {
		return buf[:n], err
	}
	n = copy(s.small, buf[:n])
	s.release()
	return s.small[:n], err
}

// take returns a buffer of the size that is wanted now.
func (s *source) take() []byte {
	if s.buf != nil && s.buf.bulk() != s.bulk {
		s.release()
	}
	if s.buf == nil {
		s.buf = s.bufs.get(s.bulk)
	}
	return s.buf.data
}

func (s *source) release() {
	if s.buf != nil {
		s.buf.release()
		s.buf = nil
	}
}
