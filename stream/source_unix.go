//go:build unix

package stream

import (
	"io"
	"os"
	"syscall"
)

const canPoll = true

// tryRead reads once. False makes the runtime wait until the socket is
// readable and call again.
func (s *source) tryRead(fd uintptr) bool {
	if s.buf == nil {
		s.buf = s.bufs.get()
	}
	for {
		n, err := syscall.Read(int(fd), s.buf[:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			s.release()
			return false
		case err != nil:
			s.err = os.NewSyscallError("read", err)
		case n == 0:
			s.err = io.EOF
		default:
			s.data = s.buf[:n]
		}
		return true
	}
}
