package gossip

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// writer is what waits for one stream to a peer. A goroutine writes it while there
// is something, and until a heartbeat finds that there was nothing since the last one: to
// wait with a timer, set anew after each write, costs much beside a short write.
type writer struct {
	e       *Engine
	r       *remote
	wireOut metrics.Counter

	mu      sync.Mutex // guards the fields below
	stream  network.Stream
	sure    bool // the peer has agreed to the protocol
	control *rpc.Control
	queue   []*router.Message
	bytes   int           // of queue, and of what is being written
	full    bool          // the router was told that the queue is above its mark
	running bool          // the goroutine
	used    bool          // something was written since the last heartbeat
	unused  bool          // the goroutine is to end if there is nothing
	load    router.Load   // since it was last asked for
	wake    chan struct{} // to the goroutine: there is something, or unused; capacity 1
}

const (
	// batchSize is how much is written at once, if so much waits: each write is one
	// encrypted record and one system call.
	batchSize = 64 << 10
	// writeTimeout is how long batchSize bytes may take. A peer that is slowed by
	// others reads slowly, and its multiplexer tells so only after half a window: with
	// 30 s, such peers lost their stream, and what waited for it.
	writeTimeout = 2 * time.Minute
	// deadlineStep is how much a write deadline may be early: setting one for each
	// write would cost more than the write of a small message.
	deadlineStep = 5 * time.Second
	// maxSpare is how many messages the memory for a queue may hold that is empty.
	maxSpare = 16
	// messageOverhead is what a message that waits costs beside its bytes, which it
	// may share with other queues.
	messageOverhead = 64
	// markPart is which part of the bound in bytes makes a queue full.
	markPart = 8
)

var batches = sync.Pool{New: func() any { b := make([]byte, 0, batchSize); return &b }}

// putBatch gives back a buffer of batches, to which b was appended.
func putBatch(buf *[]byte, b []byte) {
	if cap(b) <= 2*batchSize {
		*buf = b[:0]
	}
	batches.Put(buf)
}

func newWriter(e *Engine, r *remote) *writer {
	return &writer{e: e, r: r, wireOut: e.cfg.Obs.Counter(obs.GossipWireOut)}
}

// attach gives the writer its stream.
func (w *writer) attach(s network.Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream, w.sure = s, false
	w.startLocked()
}

// confirmed notes that the peer has agreed to the stream's protocol.
func (w *writer) confirmed(s network.Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sure = w.sure || w.stream == s
}

// ready reports whether there is a stream.
func (w *writer) ready() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stream != nil
}

func (w *writer) is(s network.Stream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stream == s
}

// probeable is the stream, if its end can be seen by reading.
func (w *writer) probeable() network.Stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sure {
		return nil
	}
	return w.stream
}

// protocol is that of the stream, empty if there is none.
func (w *writer) protocol() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream == nil {
		return ""
	}
	return string(w.stream.Protocol())
}

func (w *writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// detach takes the stream away, if there is one.
func (w *writer) detach() network.Stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stream
	w.stream, w.sure = nil, false
	w.signalLocked()
	return s
}

// close empties the queue and returns what was in it.
func (w *writer) close() (lost []*router.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost = w.queue
	n := len(w.queue)
	if w.control != nil {
		n++
	}
	w.queue, w.control, w.bytes, w.full = nil, nil, 0, false
	w.e.wrote(n)
	w.signalLocked()
	return lost
}

// limits are the largest frame, and the most bytes that may wait.
func (w *writer) limits() (frame, bytes int) {
	c := &w.e.cfg
	frame = c.largestFrame()
	return frame, max(c.PeerQueueBytes, 4*frame)
}

// push queues a message, and reports whether it did, and whether the queue has become
// full by it.
func (w *writer) push(m *router.Message) (ok, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	frame, bytes := w.limits()
	switch {
	case w.stream == nil, len(m.Frame) > frame:
		return false, false
	case w.bytes > bytes:
		w.cutOffLocked()
		return false, false
	}
	w.queue = append(w.queue, m)
	w.bytes += len(m.Frame) + messageOverhead
	w.e.writing.Add(1)
	w.startLocked()
	if !w.full && (len(w.queue) >= w.e.cfg.PeerQueue || w.bytes >= bytes/markPart) {
		w.full, full = true, true
	}
	return true, full
}

// easeLocked reports whether the queue is no longer full.
func (w *writer) easeLocked() bool {
	if !w.full || 2*len(w.queue) > w.e.cfg.PeerQueue {
		return false
	}
	if _, bytes := w.limits(); 2*w.bytes > bytes/markPart {
		return false
	}
	w.full = false
	return true
}

func (w *writer) isFull() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

// fill is which part of its bound a queue that is full takes up.
func (w *writer) fill() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.full {
		return 0
	}
	_, bytes := w.limits()
	return float64(w.bytes) / float64(bytes)
}

// beat is called at each heartbeat. It returns what was written since the last one, and
// lets the goroutine go if that is nothing.
func (w *writer) beat() (l router.Load) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, w.load = w.load, l
	if w.running && !w.used {
		w.unused = true
		w.signalLocked()
	}
	w.used = false
	return l
}

// cutOffLocked ends the streams of a peer that reads too slowly. It begins anew with
// an empty queue.
func (w *writer) cutOffLocked() {
	s := w.stream
	if s == nil {
		return
	}
	w.bytes = 0 // once
	w.e.cfg.Obs.Counter(obs.GossipSlow).Inc(1)
	w.e.spawn(w.e.streams, func() { w.e.outEnded(w.r, w, s) })
}

// say queues control, which goes before all messages.
func (w *writer) say(c *rpc.Control) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stream == nil:
		return
	case w.control == nil:
		w.control = c
		w.e.writing.Add(1)
	default:
		w.control.Merge(c)
	}
	w.startLocked()
}

// cancel takes a message out of the queue, and reports whether that is no longer full
// for it.
func (w *writer) cancel(m *router.Message) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.queue, m); i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
		w.bytes -= len(m.Frame) + messageOverhead
		w.e.wrote(1)
		return w.easeLocked()
	}
	return false
}

// startLocked sees to it that somebody writes what waits.
func (w *writer) startLocked() {
	switch {
	case w.stream == nil || w.control == nil && len(w.queue) == 0:
	case w.running:
		w.signalLocked()
	default:
		if w.wake == nil {
			w.wake = make(chan struct{}, 1)
		}
		w.running = w.e.spawn(w.e.streams, w.run)
	}
}

func (w *writer) signalLocked() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway, or there is nobody
	}
}

// run writes until nothing has come for a while, or the stream ends.
func (w *writer) run() {
	o := output{w: w}
	for {
		s, c, ms := w.take(&o)
		switch {
		case s == nil:
			w.rest()
			return
		case c == nil && len(ms) == 0:
			<-w.wake // push, say, beat, detach
		case !o.write(s, c, ms):
			// While this goroutine counts as running no other one tries the same.
			w.e.outEnded(w.r, w, s)
			w.e.lose(w.r, ms)
			w.rest()
			return
		}
	}
}

// take returns what is to be written next: all control, and as many messages as go
// into one write, or one that is larger. There is no stream if the goroutine is to end.
func (w *writer) take(o *output) (s network.Stream, c *rpc.Control, ms []*router.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream == nil {
		return nil, nil, nil
	}
	if w.control == nil && len(w.queue) == 0 {
		if w.unused {
			return nil, nil, nil
		}
		return w.stream, nil, nil
	}
	w.used, w.unused = true, false
	c, w.control = w.control, nil
	n, size := 0, 0
	for n < len(w.queue) && (n == 0 && c == nil || size+len(w.queue[n].Frame) <= batchSize) {
		size += len(w.queue[n].Frame)
		n++
	}
	ms = w.queue[:n:n]
	if w.queue = w.queue[n:]; len(w.queue) == 0 {
		w.queue, o.spare = o.spare, nil
	}
	return w.stream, c, ms
}

// rest lets the goroutine end. What has come meanwhile starts another one.
func (w *writer) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running, w.unused = false, false
	w.startLocked()
}

// done notes that n messages, and perhaps control, were written, and how long it took.
func (w *writer) done(bytes, n, parts int, took time.Duration) {
	w.mu.Lock()
	w.bytes = max(w.bytes-bytes-n*messageOverhead, 0)
	w.load.Bytes += float64(bytes)
	w.load.Busy += took
	eased := w.easeLocked()
	w.mu.Unlock()
	w.e.wrote(parts)
	if eased {
		w.e.eased(w.r)
	}
}

// output is the writing goroutine's.
type output struct {
	w        *writer
	of       network.Stream
	deadline time.Time
	at       time.Time // a write has begun, or ended
	// spare is the memory of messages that were written, for the queue once it is empty:
	// of most streams it never has more than one message.
	spare []*router.Message
}

// write writes control and messages, and reports whether it could.
func (o *output) write(s network.Stream, c *rpc.Control, ms []*router.Message) bool {
	if o.of != s {
		o.of, o.deadline = s, time.Time{}
	}
	o.at = now()
	ok, began := true, o.at
	parts, bytes := len(ms), 0
	if c == nil && len(ms) == 1 {
		bytes = len(ms[0].Frame)
		for b := ms[0].Frame; ok && len(b) > 0; {
			n := min(len(b), batchSize)
			ok = o.send(b[:n])
			b = b[n:]
		}
	} else {
		buf := batches.Get().(*[]byte)
		b := (*buf)[:0]
		if c != nil {
			b = rpc.AppendControl(b, c)
			parts++
		}
		for _, m := range ms {
			b = append(b, m.Frame...)
			bytes += len(m.Frame)
		}
		ok = len(b) == 0 || o.send(b)
		putBatch(buf, b)
	}
	o.w.done(bytes, len(ms), parts, o.at.Sub(began))
	if ok && len(ms) <= maxSpare {
		clear(ms)
		o.spare = ms[:0]
	}
	return ok
}

func (o *output) send(b []byte) bool {
	if d := o.at.Add(writeTimeout); o.deadline.IsZero() || d.Sub(o.deadline) >= deadlineStep {
		o.deadline = d
		_ = o.of.SetWriteDeadline(d)
	}
	n, err := o.of.Write(b)
	o.at = now()
	o.w.wireOut.Inc(int64(n))
	return err == nil
}
