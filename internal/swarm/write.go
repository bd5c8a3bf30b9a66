package swarm

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

const (
	openTimeout = 20 * time.Second
	// lingering is how long a writer waits for more before its goroutine ends.
	lingering = 100 * time.Millisecond
	// writeTimeout is how long a piece may take that is on its way, deadlineStep how
	// much of that a deadline may be early: setting one for each write is a cost.
	writeTimeout = 30 * time.Second
	deadlineStep = 5 * time.Second
	// pieceHead is the most that a frame adds to a piece.
	pieceHead = 16
)

// write writes what waits for a peer until nothing has come for a while, or its stream
// ends.
func (e *Engine) write(r *remote) {
	o := output{e: e, r: r}
	linger := time.NewTimer(lingering)
	defer linger.Stop()
	for {
		frames, chunk, ok := o.take()
		switch {
		case !ok:
			return
		case frames != nil || chunk != nil:
			if o.send(frames, chunk) {
				continue
			}
			e.mu.Lock()
			r.writing = false
			e.mu.Unlock()
			if e.life.Err() == nil {
				e.startAgain(r)
			}
			return
		}
		linger.Reset(lingering)
		select {
		case <-r.wake: // signalLocked
		case <-linger.C:
			o.rest = true
		}
	}
}

// output is the writing goroutine's.
type output struct {
	e        *Engine
	r        *remote
	s        network.Stream
	flow     *pacing.Flow
	deadline time.Time
	rest     bool // nothing has come for a while

	chunk *wire.Frame // that is being written
	at    int         // so much of it is
	buf   []byte      // its last piece, encoded
}

// take gives all frames that wait, or else the next piece of a chunk. It is not ok when
// the goroutine is to end.
func (o *output) take() (frames []byte, piece *wire.Frame, ok bool) {
	e, r := o.e, o.r
	var todo []sched.Effect
	e.mu.Lock()
	defer func() {
		e.unlock()
		e.finish(todo)
	}()
	if e.closed || !r.member || e.peers[r.id] != r || o.s != nil && r.out != o.s {
		// The stream is gone, or is another one's.
		r.writing = false
		if !e.closed && r.member && e.peers[r.id] == r && (len(r.control) > 0 || r.ready) {
			r.startLocked()
		}
		return nil, nil, false
	}
	if len(r.control) > 0 {
		frames, r.control = r.control, nil
		return frames, nil, true
	}
	if o.chunk == nil && r.ready {
		r.ready = false
		r.chunk = nil
		todo = e.stepLocked(sched.Event{Kind: sched.Pull, Peer: r.id}, nil)
		if o.chunk, o.at = r.chunk, 0; o.chunk != nil {
			r.chunk, r.ready = nil, true
		}
		if len(r.control) > 0 {
			// It names chunks that come, this one perhaps.
			frames, r.control = r.control, nil
			return frames, nil, true
		}
	}
	if o.chunk != nil {
		n := min(len(o.chunk.Data)-o.at, wire.Piece)
		p := *o.chunk
		p.Data = o.chunk.Data[o.at : o.at+n]
		return nil, &p, true
	}
	if o.rest && !r.ready {
		r.writing = false
		return nil, nil, false
	}
	o.rest = false
	return nil, nil, true
}

// send writes frames, or a piece of a chunk, and reports whether the stream goes on.
func (o *output) send(frames []byte, piece *wire.Frame) bool {
	o.rest = false
	if o.s == nil && !o.open() {
		return false
	}
	if frames != nil {
		return len(frames) <= controlMost && o.put(pacing.High, frames)
	}
	size := len(piece.Data) + pieceHead
	n, ok := o.begin(size)
	if !ok {
		return o.e.life.Err() == nil // frames came meanwhile, which go first
	}
	if n < size && n > 2*pieceHead {
		// A smaller piece, so that frames need not wait for the rest of this one.
		piece.Data = piece.Data[:n-pieceHead]
	}
	if o.buf == nil {
		o.buf = make([]byte, 0, wire.Piece+pieceHead)
	}
	o.buf = wire.Append(o.buf[:0], piece)
	if !o.putFirst(o.buf, min(n, len(o.buf))) {
		return false
	}
	if o.at += len(piece.Data); o.at == len(o.chunk.Data) {
		o.chunk = nil
	}
	return true
}

// begin waits for a place in the lowest class for some of size bytes, or until frames
// come.
func (o *output) begin(size int) (n int, ok bool) {
	if o.flow == nil {
		return size, true
	}
	ctx, cancel := context.WithCancel(o.e.life)
	defer cancel()
	o.e.mu.Lock()
	waiting := len(o.r.control) == 0
	if waiting {
		o.r.cut = cancel
	}
	o.e.mu.Unlock()
	if !waiting {
		return 0, false
	}
	n, err := o.flow.Begin(ctx, pacing.Low, size)
	o.e.mu.Lock()
	o.r.cut = nil
	o.e.mu.Unlock()
	return n, err == nil
}

// putFirst writes b, of which n bytes may go now.
func (o *output) putFirst(b []byte, n int) bool {
	m, err := o.raw(b[:n])
	if o.flow != nil {
		o.flow.End(m)
	}
	if err == nil && n < len(b) {
		return o.put(pacing.Low, b[n:])
	}
	if o.flow != nil {
		o.flow.Leave()
	}
	return err == nil
}

// put writes b, in as many steps as the budget wants.
func (o *output) put(class pacing.Class, b []byte) bool {
	if o.flow == nil {
		_, err := o.raw(b)
		return err == nil
	}
	for len(b) > 0 {
		n, err := o.flow.Begin(o.e.life, class, len(b))
		if err != nil {
			return false
		}
		m, err := o.raw(b[:n])
		o.flow.End(m)
		if err != nil {
			o.flow.Leave()
			return false
		}
		b = b[n:]
	}
	o.flow.Leave()
	return true
}

func (o *output) raw(b []byte) (int, error) {
	if d := time.Now().Add(writeTimeout); o.deadline.IsZero() || d.Sub(o.deadline) >= deadlineStep {
		o.deadline = d
		_ = o.s.SetWriteDeadline(d)
	}
	n, err := o.s.Write(b)
	o.e.wireOut.Inc(int64(n))
	return n, err
}

// open gets a stream: the one there is, or a new one on the connection there is.
func (o *output) open() bool {
	e, r := o.e, o.r
	e.mu.Lock()
	o.s = r.out
	e.mu.Unlock()
	if o.s == nil {
		ctx, cancel := context.WithTimeout(network.WithNoDial(e.life, "swarm"), openTimeout)
		s, err := e.cfg.Host.NewStream(ctx, r.id, e.protocol)
		cancel()
		if err != nil {
			return false
		}
		e.mu.Lock()
		if e.closed || !r.member || e.peers[r.id] != r {
			e.mu.Unlock()
			_ = s.Reset()
			return false
		}
		r.out, o.s = s, s
		e.mu.Unlock()
	}
	if e.cfg.Budgets != nil {
		o.flow = pacing.NewFlow(e.cfg.Budgets.Of(o.s.Conn()))
	}
	return true
}
