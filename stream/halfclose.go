package stream

import (
	"errors"
	"io"
	"net"
	"os"
)

// How the two directions end, and what each end means for the other.
//
//   - A direction that reads an end of file passes it on by CloseWrite and is
//     clean. The other goes on for as long as it likes.
//   - A reader that fails means that its side is gone: both directions are
//     reset. A reset of the stream becomes a reset of the local connection.
//   - A writer that fails means that the far end takes no more. What it has
//     already sent is still on its way in the other direction, so that one is
//     left to end by itself: it soon reads an end of file or an error.
//   - After the write side of the stream was closed cleanly, the stream is never
//     reset where a reset would cancel data that is not yet delivered (QUIC).
//     On yamux the end of file is ahead of the reset on the same connection.
//   - yamux has no word for "I read no more". A peer that closed altogether
//     looks like one that half-closed, and data sent to it vanishes until the
//     window is full. The watch ends a stream whose peer has finished sending
//     and takes nothing for the stall timeout.

// upEOF: the local end has finished sending.
func (b *bridge) upEOF() {
	if err := b.stream.CloseWrite(); err != nil {
		if _, down := b.outcomes(); down == clean {
			b.settle(&b.up, broken) // both had finished: nothing was lost
			return
		}
		b.upRefused(err)
		return
	}
	b.settle(&b.up, clean)
	b.s.halfDone(LocalDone)
}

// upFailed: the local end is gone.
func (b *bridge) upFailed(err error) {
	b.settle(&b.up, broken)
	b.fail(err, false)
}

// upRefused: the peer takes no more data.
func (b *bridge) upRefused(err error) {
	b.s.setErr(err)
	b.settle(&b.up, broken)
	b.watch.arm()
}

// downEnd: the stream has no more data, for a good or a bad reason.
func (b *bridge) downEnd(err error) {
	if !errors.Is(err, io.EOF) {
		b.downFailed(err)
		return
	}
	if hc, ok := b.local.(interface{ CloseWrite() error }); ok {
		// An error means that the local end is gone, which its reader will
		// find out: there is nothing left to deliver here.
		_ = hc.CloseWrite()
	}
	b.settle(&b.down, clean)
	b.s.halfDone(PeerDone)
	b.watch.arm()
}

// downFailed: the peer has reset the stream, or the connection is lost.
func (b *bridge) downFailed(err error) {
	b.settle(&b.down, broken)
	b.fail(err, true)
}

// downRefused: the local end takes no more data. Its own last words may still
// be unread in the socket, so up goes on until it has them.
func (b *bridge) downRefused(err error) {
	b.s.setErr(err)
	b.settle(&b.down, broken)
	if b.kind != yamuxStream {
		_ = b.stream.CloseRead() // tells the peer to stop
	}
	b.watch.arm()
}

func (b *bridge) settle(o *outcome, how outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*o = how
}

// fail ends both directions because one side is gone.
func (b *bridge) fail(err error, byPeer bool) {
	b.s.setErr(err)
	b.mu.Lock()
	b.refused = b.refused || byPeer
	keep := b.up == clean && b.kind != yamuxStream
	first := !b.reset && !b.closed
	b.reset = true
	b.mu.Unlock()
	if first {
		b.cut(keep)
	}
}

// abort ends both directions at once, from outside.
func (b *bridge) abort() {
	b.mu.Lock()
	first := !b.reset && !b.closed
	b.reset, b.refused = true, true
	b.mu.Unlock()
	if first {
		b.cut(false)
	}
}

// cut makes both directions fail. With keep, data that was written to the
// stream and closed cleanly is still delivered.
func (b *bridge) cut(keep bool) {
	if keep {
		_ = b.stream.CloseRead()
	} else {
		_ = b.stream.Reset()
	}
	b.mu.Lock()
	refused := b.refused
	b.mu.Unlock()
	if refused {
		ResetConn(b.local)
	} else {
		_ = b.local.Close()
	}
}

// finish frees both ends when both directions have ended.
func (b *bridge) finish() {
	b.watch.stop()
	b.mu.Lock()
	b.closed = true
	up, down, reset := b.up, b.down, b.reset
	b.mu.Unlock()
	switch {
	case up == clean && (down == clean || b.kind != yamuxStream):
		// Close stops reading, and delivers what was written.
		_ = b.stream.Close()
	default:
		_ = b.stream.Reset()
	}
	if !reset {
		_ = b.local.Close()
	}
}

// ResetConn closes a local connection such that its other end sees a reset.
func ResetConn(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
