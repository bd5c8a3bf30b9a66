//go:build unix

package stream

import (
	"io"
	"net"
	"os"
	"syscall"
)

const canPoll = true

// socketError is the error of a socket, such as a reset, that nobody has been told
// of; nil also where there is no socket.
func socketError(c net.Conn) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil // closed here
	}
	var code int
	if cerr := raw.Control(func(fd uintptr) { code, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR) }); cerr != nil || err != nil || code == 0 {
		return nil
	}
	return os.NewSyscallError("getsockopt", syscall.Errno(code))
}

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
