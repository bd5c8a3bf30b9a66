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
			request := []byte("?")
			if i%2 == 0 {
				request = make([]byte, 64<<10) // which nobody reads
			}
			// The answer has 100 ms. A machine that stands still for that long does not
			// do so each time.
			var got []byte
			err := io.EOF
			for try := 0; try < 5 && !(bytes.Equal(got, answer) && errors.Is(err, syscall.ECONNRESET)); try++ {
				c := connect(t, at)
				_, _ = c.Write(request)
				got, err = io.ReadAll(c)
				_ = c.Close()
			}
			if !bytes.Equal(got, answer) || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("request of %d bytes: %d of %d bytes, %v", len(request), len(got), len(answer), err)
			}
		}
		awaitEmpty(t, dial, serve)
	})
}
