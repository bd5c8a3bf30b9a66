package p2p

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// A service that answers and resets, as the kernel does for one that closes
// with unread input: the answer arrives, and then the reset.
func TestAnswerBeforeAResetArrives(t *testing.T) {
	answer := bytes.Repeat([]byte("no, "), 4<<10)
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, service(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_, _ = c.Write(answer)
			_ = c.SetLinger(0)
		}))
		for i := range 6 {
			c := connect(t, at)
			request := []byte("?")
			if i%2 == 0 {
				request = make([]byte, 64<<10) // which nobody reads
			}
			_, _ = c.Write(request)
			got, err := io.ReadAll(c)
			if !bytes.Equal(got, answer) || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("request of %d bytes: %d of %d bytes, %v", len(request), len(got), len(answer), err)
			}
			_ = c.Close()
		}
		awaitEmpty(t, dial, serve)
	})
}
