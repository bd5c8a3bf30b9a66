package stream

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// How the two directions end, and what each end means for the other.
//
//   - A direction that reads an end of file passes it on by CloseWrite and is
//     clean. The other goes on for as long as it likes.
//   - A reader that fails means that its side is gone: both directions are
//     reset. A reset of the stream becomes a reset of the local connection. A
//     reset of the local connection becomes one of the stream, lastWords later if
//     anything was sent before: a reset discards what the other side has not read
//     yet, on yamux as on QUIC, and a service that answers and closes with unread
//     input resets right behind its answer.
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

// lastWords is how long what was sent before a reset has to be taken at the far
// end. The reset keeps its distance on the way, so that no round trip counts.
const lastWords = 100 * time.Millisecond

// tellTime is enough for a write to a socket that has been reset to return.
const tellTime = 5 * time.Millisecond

// upEOF: the local end has finished sending, or so it looks. The system tells a
// reset once: when the writer was told, the reader sees an end of file, and half
// an answer would look like a whole one.
func (b *bridge) upEOF() {
	if b.telling.Load() {
		b.pause(tellTime)
	}
	b.mu.Lock()
	lost := b.lost
	b.mu.Unlock()
	if lost != nil {
		b.upFailed(lost)
		return
	}
	if err := b.stream.CloseWrite(); err != nil {
		if _, down := b.outcomes(); down == clean {
			b.decide(&b.up, broken) // both had finished: nothing was lost
			return
		}
		b.upRefused(err)
		return
	}
	b.decide(&b.up, clean)
	b.s.halfDone(LocalDone)
	b.watch.arm()
}

// upFailed: the local end is gone.
func (b *bridge) upFailed(err error) {
	b.s.setErr(err)
	if b.s.out.Load() > 0 {
		b.pause(lastWords)
	}
	b.decide(&b.up, broken)
	b.fail(err, false)
}

// pause waits, but not longer than the bridge lasts.
func (b *bridge) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.gone: // closed by cut
	}
}

// upRefused: the peer takes no more data.
func (b *bridge) upRefused(err error) {
	if errors.Is(err, io.EOF) { // of the connection below
		err = lost(err)
	}
	b.s.setErr(err)
	b.decide(&b.up, broken)
	b.watch.arm()
}

// downEnd: the stream has no more data, for a good or a bad reason.
func (b *bridge) downEnd(err error) {
	if !finished(err) {
		b.downFailed(err)
		return
	}
	if hc, ok := b.local.(interface{ CloseWrite() error }); ok {
		// An error means that the local end is gone, which its reader will
		// find out: there is nothing left to deliver here.
		_ = hc.CloseWrite()
	}
	b.decide(&b.down, clean)
	b.s.halfDone(PeerDone)
	b.watch.arm()
}

// downFailed: the peer has reset the stream, or the connection is lost.
func (b *bridge) downFailed(err error) {
	b.decide(&b.down, broken)
	b.fail(err, true)
}

// downRefused: the local end takes no more data. Its own last words may still
// be unread in the socket, so up goes on until it has them.
func (b *bridge) downRefused(err error) {
	b.s.setErr(err)
	b.mu.Lock()
	b.down = broken
	if errors.Is(err, syscall.ECONNRESET) { // EPIPE comes after an end of file as well
		b.lost = err
	}
	b.mu.Unlock()
	if b.kind != yamuxStream {
		_ = b.stream.CloseRead() // tells the peer to stop
	}
	b.watch.arm()
}

func (b *bridge) decide(o *outcome, how outcome) {
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
	close(b.gone)
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
