package reqresp

import (
	"encoding/binary"
	"io"
	"runtime"
	"sync"
)

const (
	// smallMessage is the size up to which a message is put into the buffer at
	// once; above, it waits for its turn, a fragment at a time.
	smallMessage = 4 << 10
	// batch is how much is gathered for one write: one frame of the multiplexer,
	// which sends 64 KiB at once, its own header of 12 bytes included. A few bytes
	// more would be a frame, a record and a system call of their own.
	batch = 64<<10 - 12
	// fullSmall is how much of small frames may wait before a server reads no
	// further requests.
	fullSmall = 256 << 10
)

// writeBuffers are for writes with parts of large messages, *[batch]byte.
var writeBuffers = sync.Pool{New: func() any { return new([batch]byte) }}

// outbox is what waits to be written to one stream: small frames in order, and
// calls with larger messages, which take turns.
type outbox struct {
	mu     sync.Mutex // guards what follows, and the fields of each outgoing
	filled sync.Cond  // there is something to write, or err is set
	taken  sync.Cond  // small was taken, or err is set
	small  []byte
	spare  []byte      // what small is next
	ready  []*outgoing // have something to send and credit for it
	err    error       // why nothing is sent any more
}

// outgoing is what one side of a call sends.
type outgoing struct {
	call   uint64
	credit int // negative: no flow control

	sent   int64 // bytes of messages that were put into frames
	msg    []byte
	at     int  // how much of msg is out
	begun  bool // the length of msg is out
	active bool // msg, or the end, is to be sent
	end    bool // after msg
	ended  bool // the end is out, or must not go out any more
	queued bool // in ready
	taken  func()
}

func (b *outbox) init() {
	b.filled.L, b.taken.L = &b.mu, &b.mu
}

// send queues a message of a call, and the end if that follows. There is no
// other one of that call on its way. taken is called when the last of it has been
// written, or is never going to be; it must not block, and may be called before
// send returns. From then on msg is the caller's again.
func (b *outbox) send(o *outgoing, msg []byte, end bool, taken func()) {
	b.mu.Lock()
	if b.err == nil && !o.ended {
		o.msg, o.at, o.begun, o.active, o.end, o.taken = msg, 0, false, true, end, taken
		if !o.small() {
			b.queueLocked(o)
			b.mu.Unlock()
			return
		}
		b.small = o.frame(b.small, kindData, nil, len(msg))
		b.filled.Signal()
		o.finishLocked()
	}
	b.mu.Unlock()
	if taken != nil {
		taken()
	}
}

// openLocked begins a call with those terms and, unless there is to be no message
// yet, sends its only one.
func (b *outbox) openLocked(o *outgoing, terms, msg []byte, only bool) {
	if only {
		o.msg, o.active, o.end = msg, true, true
	}
	b.filled.Signal()
	if only && o.small() {
		b.small = o.frame(b.small, kindOpen, terms, len(msg))
		o.finishLocked()
		return
	}
	// Calls are numbered in the order in which they are opened, so this frame does
	// not wait for its turn as the message does.
	b.small = append(appendHeader(b.small, header{kind: kindOpen, call: o.call, size: len(terms)}), terms...)
	if only {
		b.queueLocked(o)
	}
}

// small tells whether the message is put into the buffer at once.
func (o *outgoing) small() bool {
	return len(o.msg) <= smallMessage && fragment(len(o.msg), o.credit, true) == len(o.msg)
}

// sendEnd says that a call's messages have come to their end.
func (b *outbox) sendEnd(o *outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || o.ended {
		return
	}
	o.ended = true
	b.small = appendHeader(b.small, header{kind: kindData, end: true, call: o.call})
	b.filled.Signal()
}

// control sends a frame of another kind.
func (b *outbox) control(k kind, call uint64, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.controlLocked(k, call, body)
}

func (b *outbox) controlLocked(k kind, call uint64, body []byte) {
	if b.err != nil {
		return
	}
	b.small = append(appendHeader(b.small, header{kind: k, call: call, size: len(body)}), body...)
	b.filled.Signal()
}

// grant sends credit.
func (b *outbox) grant(call uint64, n int) {
	var body [binary.MaxVarintLen64]byte
	b.control(kindCredit, call, body[:binary.PutUvarint(body[:], uint64(n))])
}

// fail ends a call: nothing more of it is sent but that error.
func (b *outbox) fail(o *outgoing, body []byte) {
	b.drop(o)
	b.control(kindError, o.call, body)
}

// drop sends nothing more of a call.
func (b *outbox) drop(o *outgoing) {
	b.mu.Lock()
	taken := o.dropLocked()
	b.mu.Unlock()
	if taken != nil {
		taken()
	}
}

// dropLocked ends what a call sends and returns whom to tell.
func (o *outgoing) dropLocked() (taken func()) {
	taken = o.taken
	o.ended = true
	o.finishLocked() // one that is queued is skipped
	return taken
}

// readCredit adds the credit that a frame of the peer gives. It is a fault where there
// is no flow control, and beyond the largest window.
func (b *outbox) readCredit(r *frameReader, o *outgoing) error {
	n, err := r.uvarint()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.credit < 0 || n > maxWindow || int(n) > maxWindow-min(o.credit, maxWindow) {
		return FaultCredit
	}
	o.credit += int(n)
	if o.active {
		b.queueLocked(o)
	}
	return nil
}

// progress is how much of a call's messages has been sent.
func (b *outbox) progress(o *outgoing) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return o.sent
}

func (b *outbox) queueLocked(o *outgoing) {
	if !o.queued && fragment(len(o.msg)-o.at, o.credit, !o.begun) >= 0 {
		o.queued = true
		b.ready = append(b.ready, o)
		b.filled.Signal()
	}
}

func (o *outgoing) finishLocked() {
	o.ended = o.ended || o.active && o.end
	o.msg, o.taken, o.active = nil, nil, false
}

// frame appends the next frame of the message, with n bytes of it.
func (o *outgoing) frame(dst []byte, k kind, fields []byte, n int) []byte {
	var length [binary.MaxVarintLen64]byte
	size := 0
	if !o.begun {
		size = binary.PutUvarint(length[:], uint64(len(o.msg)))
		o.begun = true
		if o.credit >= 0 {
			o.credit -= messageCost
		}
	}
	if o.credit >= 0 {
		o.credit -= n
	}
	dst = appendHeader(dst, header{kind: k, end: o.end && o.at+n == len(o.msg), call: o.call, size: len(fields) + size + n})
	dst = append(dst, fields...)
	dst = append(dst, length[:size]...)
	dst = append(dst, o.msg[o.at:o.at+n]...)
	o.at += n
	o.sent += int64(n)
	return dst
}

// next waits for something to write and returns it; it is valid until the next
// call. Small frames come first, then a fragment of each call in turn, at least one,
// for as long as they fit into one write. Of the messages that end in it, done gets
// the taken functions, to be called without the lock.
func (b *outbox) next(done []func()) (out []byte, _ []func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for len(b.small) == 0 && len(b.ready) == 0 && b.err == nil {
			b.filled.Wait()
			// Whoever can run now may have something for the same write: without
			// this, each of 32 callers costs a write, a system call, of its own.
			b.mu.Unlock()
			runtime.Gosched()
			b.mu.Lock()
		}
		if b.err != nil {
			return nil, done, b.err
		}
		out, b.small, b.spare = b.small, b.spare[:0], nil
		b.taken.Broadcast()
		if len(b.ready) > 0 && len(out)+maxPiece <= batch {
			b.spare, out = out[:0], append(writeBuffers.Get().(*[batch]byte)[:0], out...)
		}
		for turn := 0; len(b.ready) > 0 && (turn == 0 || len(out)+maxPiece <= batch); turn++ {
			out, done = b.nextFragmentLocked(out, done)
		}
		if len(b.ready) == 0 {
			b.ready = nil
		}
		if len(out) > 0 {
			return out, done, nil
		}
		b.recycleLocked(out) // what was queued has been dropped
	}
}

// nextFragmentLocked takes a fragment of the call whose turn it is.
func (b *outbox) nextFragmentLocked(out []byte, done []func()) ([]byte, []func()) {
	o := b.ready[0]
	b.ready[0] = nil
	b.ready = b.ready[1:]
	o.queued = false
	n := fragment(len(o.msg)-o.at, o.credit, !o.begun)
	if !o.active || n < 0 {
		return out, done // dropped; or readCredit brings it back
	}
	out = o.frame(out, kindData, nil, n)
	if o.at < len(o.msg) {
		b.queueLocked(o)
		return out, done
	}
	if o.taken != nil {
		done = append(done, o.taken)
	}
	o.finishLocked()
	return out, done
}

// pump writes what comes, until the outbox is closed or a write fails.
func (b *outbox) pump(w io.Writer) error {
	var done []func()
	for {
		out, told, err := b.next(done[:0])
		if err != nil {
			return err
		}
		// Before the write, so that the next message is made beside it.
		for _, f := range told {
			f()
		}
		clear(told)
		done = told
		if _, err := w.Write(out); err != nil {
			return err
		}
		b.wrote(out)
	}
}

// wrote gives a buffer back that next returned.
func (b *outbox) wrote(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recycleLocked(buf)
}

func (b *outbox) recycleLocked(buf []byte) {
	switch {
	case cap(buf) == batch:
		writeBuffers.Put((*[batch]byte)(buf[:batch]))
	case cap(buf) <= smallMessage || len(b.small) > 0 || len(b.ready) > 0:
		b.spare = buf[:0]
	default: // an idle stream keeps no more than small calls need
	}
}

// awaitRoom waits while too much of small frames is queued.
func (b *outbox) awaitRoom() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.small) > fullSmall && b.err == nil {
		b.taken.Wait()
	}
}

// close sends nothing more. Whoever has a message queued drops it.
func (b *outbox) close(err error) {
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return
	}
	b.err = err
	b.small, b.spare, b.ready = nil, nil, nil
	b.filled.Broadcast()
	b.taken.Broadcast()
	b.mu.Unlock()
}
