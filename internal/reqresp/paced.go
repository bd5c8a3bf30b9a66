package reqresp

import (
	"context"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/pacing"
)

// largeWrite is from when on a write gives way to those of other streams: it has
// parts of large messages.
const largeWrite = 16 << 10

// writer is the writing end of a stream: it asks the budget of the connection, and
// gives every write its time. One goroutine uses it.
type writer struct {
	ctx     context.Context // ends with the stream
	stream  network.Stream
	to      io.Writer    // the stream, or what negotiates in front of it
	flow    *pacing.Flow // nil: there is no budget
	timeout time.Duration
	set     time.Time // when the deadline was set
}

func (e *Engine) newWriter(ctx context.Context, s network.Stream, to io.Writer) *writer {
	w := &writer{ctx: ctx, stream: s, to: to, timeout: e.cfg.WriteTimeout}
	if e.budgets != nil {
		w.flow = pacing.NewFlow(e.budgets.Of(s.Conn()))
	}
	return w
}

// Write writes p in pieces, each when it may be on its way. How long that takes
// does not count against the peer.
func (w *writer) Write(p []byte) (n int, err error) {
	class := pacing.Normal
	if len(p) > largeWrite {
		class = pacing.Low
	}
	if w.flow != nil {
		defer w.flow.Leave()
	}
	for n < len(p) && err == nil {
		size := len(p) - n
		if w.flow != nil {
			if size, err = w.flow.Begin(w.ctx, class, size); err != nil {
				return n, err
			}
		}
		w.extend()
		var m int
		m, err = w.to.Write(p[n : n+size])
		if w.flow != nil {
			w.flow.End(m)
		}
		n += m
	}
	return n, err
}

// extend sets the deadline anew, at most once a second.
func (w *writer) extend() {
	if now := time.Now(); now.Sub(w.set) > time.Second {
		w.set = now
		w.stream.SetWriteDeadline(now.Add(w.timeout))
	}
}
