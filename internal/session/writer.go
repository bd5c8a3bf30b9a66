package session

import (
	"context"
	"errors"
	"math"
	"net"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/neterr"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// writerIdle is how long a writer that has nothing to write stays: the
	// next lone message then starts no goroutine, whose stack would grow anew.
	writerIdle = 100 * time.Millisecond
	// unreadMost is what the hosts at both ends hold of a stream that nobody
	// reads, until somebody has: the initial windows of yamux (256 KiB) and of
	// QUIC (512 KiB).
	unreadMost = 512 << 10
	// resetSoon is the age below which a stream that the peer resets delays the
	// next one.
	resetSoon  = 5 * time.Second
	resetDelay = 100 * time.Millisecond // doubled with each one
	resetsMost = 10                     // more of them are not counted
	resetMost  = 5 * time.Second
)

var (
	errStalled  = errors.New("peer does not read")
	errNotTaken = errors.New("peer takes the type no longer")
	errOpen     = errors.New("no stream")
)

// writer writes what one type has queued, and ends when that is nothing for a
// while. It is a part of its queue and belongs to the goroutine that push starts.
type writer struct {
	o       *sendQueue
	byClass pacing.Fair  // among the priorities within the type
	flow    *pacing.Flow // among all that is written on the connection
	timer   *time.Timer  // of idle
	wake    chan struct{}

	// Guarded by the queue's lock.
	idles               bool     // nothing to write; push wakes it
	opening             *opening // nil while none is opened
	popped, poppedCount int      // bytes and messages taken and not yet accounted for
}

// run is the writer goroutine.
func (w *writer) run() {
	w.o.t.labels.Apply()
	defer w.o.s.wg.Done()
	for {
		seg, class, ok := w.next()
		if !ok {
			w.o.s.writerIdles()
			if !w.idle() {
				return
			}
			continue
		}
		n, err := w.segment(seg, class)
		w.account(seg, class, n, err)
		if err != nil {
			w.recover(err)
		}
	}
}

// idle waits for something to write. It is false when nothing has come.
func (w *writer) idle() bool {
	if w.timer == nil {
		w.timer = time.NewTimer(writerIdle)
	} else {
		w.timer.Reset(writerIdle)
	}
	select {
	case <-w.wake: // push
		w.timer.Stop()
		return true
	case <-w.timer.C:
	case <-w.o.s.ctx.Done():
		w.timer.Stop()
	}
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	if !w.idles {
		<-w.wake // push has been quicker
		return true
	}
	w.idles = false
	return false
}

// next pops a segment, or has the writer idle.
func (w *writer) next() (seg segment, class int, ok bool) {
	o := w.o
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range classes {
		w.byClass.Set(pacing.Class(c), o.q.has(c))
	}
	if c, ok := w.byClass.Pick(); ok {
		class = int(c)
		seg, ok = o.q.pop(class)
		w.byClass.Charge(c, seg.size)
		w.popped, w.poppedCount = seg.size, seg.count
		return seg, class, ok
	}
	w.flow.Leave()
	o.writing, w.idles = false, true
	o.idleSince = o.s.since()
	return seg, 0, false
}

// segment writes one segment and tells how many bytes of it went out.
func (w *writer) segment(seg segment, class int) (n int, err error) {
	o := w.o
	o.mu.Lock()
	st := o.stream
	o.mu.Unlock()
	if st == nil {
		if st, err = w.open(); err != nil {
			return 0, err
		}
	}
	if n, err = w.part(st, seg.block.b, class); err != nil {
		return n, err
	}
	for i, b := range seg.chain {
		m, err := w.part(st, b.b, class)
		n += m
		if err != nil {
			return n, err
		}
		b.release() // at once: it is warm
		seg.chain[i] = nil
	}
	m, err := w.part(st, seg.tail, class)
	return n + m, err
}

// open opens the stream. The session may have ended meanwhile.
func (w *writer) open() (*sendStream, error) {
	o := w.o
	if err := o.awaitFinish(); err != nil {
		return nil, err
	}
	st, err := o.s.acquireStream()
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	number := o.offer.number
	o.mu.Unlock()
	if number == 0 {
		st.release()
		return nil, errNotTaken
	}
	ctx := o.s.newOpening()
	w.setOpening(ctx)
	if o.s.ctx.Err() != nil { // cutOff may have come before
		ctx.cancel(nil)
	}
	err = st.open(ctx, number)
	w.setOpening(nil)
	ctx.cancel(nil)
	if err != nil {
		return nil, errors.Join(errOpen, err)
	}
	o.mu.Lock()
	dead := o.closed || o.offer.number == 0 || o.s.ctx.Err() != nil
	if !dead {
		o.stream = st
		o.sent.streams++
	}
	o.mu.Unlock()
	if dead {
		st.reset(network.StreamShutdown)
		return nil, net.ErrClosed
	}
	return st, nil
}

func (w *writer) setOpening(ctx *opening) {
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	w.opening = ctx
}

// part writes bytes chunk by chunk, each when the connection's budget has room for
// it.
func (w *writer) part(st *sendStream, b []byte, class int) (n int, err error) {
	for n < len(b) {
		size, err := w.flow.Begin(w.o.s.ctx, pacing.Class(class), len(b)-n)
		if err != nil {
			return n, err
		}
		m, err := w.chunk(st, b[n:n+size])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// chunk writes one chunk. A write that timed out but moved something is none
// that failed: the rest of it is written with what follows.
func (w *writer) chunk(st *sendStream, b []byte) (int, error) {
	s := w.o.s
	began := s.since()
	st.writes.begin(began, s.e.cfg.WriteTimeout)
	n, err := st.write(s, b)
	st.writes.end()
	w.flow.End(n)
	switch {
	case err == nil || !neterr.IsTimeout(err):
		return n, err
	case n == 0 && s.since()-began >= s.e.cfg.WriteTimeout:
		return 0, errStalled
	}
	// Something moved, nobody knows when: one more period. Or the tick meant the
	// write before.
	return n, st.raw.SetWriteDeadline(time.Time{})
}

// account accounts for a segment of which n bytes went out. What a stream that
// failed has not begun to take goes back to the front of the queue, for the next
// one.
func (w *writer) account(seg segment, class, n int, err error) {
	o := w.o
	written, lost := seg.count, 0
	if err != nil {
		was := seg.count
		written = seg.keepRest(n)
		lost = was - written - seg.count
	}
	why := dropReason(err)
	o.mu.Lock()
	w.popped, w.poppedCount = 0, 0
	o.sent.written += uint64(written)
	o.sent.bytes += uint64(n)
	if lost > 0 {
		if o.closed && why == DropReset {
			why = DropClosed
		}
		o.sent.drop(why, lost)
	}
	if st := o.stream; st != nil && st.sent > unreadMost {
		o.stalls = 0
	}
	if err != nil && seg.count > 0 {
		o.q.unpop(class, seg)
	} else {
		seg.release()
	}
	free := o.unbookLocked()
	o.mu.Unlock()
	o.t.countOut(written, n)
	o.s.unbooked(free, lost, why)
}

func dropReason(err error) DropReason {
	switch {
	case errors.Is(err, errStalled):
		return DropSlow
	case errors.Is(err, errNotTaken):
		return DropUnsupported
	case errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return DropClosed
	case errors.Is(err, errOpen):
		return DropOpen
	}
	return DropReset
}

// recover decides what becomes of the queue after a stream failed. The stream
// is gone in any case; the writer goes on with what is left or has come since.
func (w *writer) recover(err error) {
	o, s := w.o, w.o.s
	w.flow.Leave()
	o.mu.Lock()
	st := o.stream
	o.stream = nil
	var age time.Duration
	if st != nil {
		age = time.Since(st.opened)
	}
	switch {
	case age >= resetSoon:
		o.resets = 0
	case o.resets < resetsMost:
		o.resets++
	}
	var why DropReason
	slow := false
	switch {
	case o.closed || s.ctx.Err() != nil:
		why = DropClosed
	case o.offer.number == 0:
		why = DropUnsupported
	case errors.Is(err, errStalled):
		why = DropSlow
		o.stalls = min(o.stalls, math.MaxUint16-1) + 1
		slow = int(o.stalls) >= s.e.cfg.StallLimit
	case errors.Is(err, errOpen) && (o.resets > openTries || neterr.IsTimeout(err)):
		why = DropOpen
		o.resets = 0
	default:
		resets := o.resets
		o.mu.Unlock()
		if st != nil {
			st.reset(network.StreamNoError)
		}
		if resets > 1 {
			lifecycle.Sleep(s.ctx, min(resetDelay<<resets, resetMost)) // the writer looks for the end itself
		}
		return
	}
	bytes, count := o.dropLocked(why)
	o.mu.Unlock()
	if st != nil {
		st.reset(network.StreamNoError)
	}
	s.unbooked(bytes, count, why)
	if slow {
		s.end(handshake.ReasonSlowReader, false)
	}
}

// openTries is how often a stream is tried to be opened before the queue is
// given up, where each try fails at once.
const openTries = 4
