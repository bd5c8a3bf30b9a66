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
	buf := s.take()
	for {
		n, err := syscall.Read(int(fd), buf)
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
			s.data = buf[:n]
			s.bulk = bulky(n, len(buf))
		}
		return true
	}
}
