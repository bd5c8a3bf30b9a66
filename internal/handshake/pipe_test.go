package handshake

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errReset = errors.New("stream reset")

// half is one direction of a pipe: unbounded buffer, half-close, reset and a
// read deadline.
type half struct {
	mu       sync.Mutex
	cond     *sync.Cond
	buf      bytes.Buffer
	eof      bool
	reset    bool
	deadline time.Time
	timer    *time.Timer
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reset:
			return 0, errReset
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return 0, os.ErrDeadlineExceeded
		case h.buf.Len() > 0:
			return h.buf.Read(p)
		case h.eof:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) change(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
	h.cond.Broadcast()
}

// end is one end of a pipe.
type end struct {
	in, out *half
}

func pipe() (a, b *end) {
	x, y := newHalf(), newHalf()
	return &end{x, y}, &end{y, x}
}

func (e *end) Read(p []byte) (int, error) { return e.in.read(p) }

func (e *end) Write(p []byte) (n int, err error) {
	e.out.change(func() {
		switch {
		case e.out.reset:
			err = errReset
		case e.out.eof:
			err = io.ErrClosedPipe
		default:
			n, err = e.out.buf.Write(p)
		}
	})
	return n, err
}

func (e *end) CloseWrite() error {
	e.out.change(func() { e.out.eof = true })
	return nil
}

func (e *end) Close() error {
	e.in.change(func() { e.in.eof = true; e.in.buf.Reset() })
	return e.CloseWrite()
}

func (e *end) Reset() error {
	for _, h := range []*half{e.in, e.out} {
		h.change(func() {
			h.reset = true
			if h.timer != nil {
				h.timer.Stop()
			}
		})
	}
	return nil
}

func (e *end) SetDeadline(t time.Time) error {
	h := e.in
	h.change(func() {
		h.deadline = t
		if h.timer != nil {
			h.timer.Stop()
		}
		if !t.IsZero() {
			h.timer = time.AfterFunc(time.Until(t), h.cond.Broadcast)
		}
	})
	return nil
}

func (e *end) wasReset() bool {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	return e.in.reset
}

func testHello(instance uint64) Hello {
	return Hello{
		VersionMin: 1, VersionMax: 2, ChainID: "testchain", Genesis: []byte{1, 2, 3},
		Agent: "test/1.0", Capabilities: []string{"light", "archive"}, Instance: instance,
		Payload: []byte("best=17"),
	}
}
