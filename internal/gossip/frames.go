package gossip

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/neterr"
	"github.com/go-nebnet/nebnet/internal/pacing"
)

const (
	// idleBuffer is what a stream on which nothing comes holds, warmBuffer what one holds
	// on which more has come recently. Each read of a stream costs as much as to handle
	// a copy of a small message, so what comes at once is to be read at once.
	idleBuffer, warmBuffer = 512, 4 << 10
	// warmth is for how long.
	warmth = 15 * time.Second
	// frameStall is how long a frame may stand still. On average it must come at
	// pacing.LowestRate.
	frameStall = 15 * time.Second
)

var (
	errFrameTooLarge = errors.New("frame too large")
	errFrameLength   = errors.New("length of a frame is malformed")
)

// source is what frames are read from.
type source interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// frames cuts a stream into frames. Its memory grows as bytes come, whatever length
// a frame claims, and is given back when nothing is left in it and nothing comes.
type frames struct {
	s     source
	limit int

	buf      []byte
	r, w     int       // what has come and was not taken is buf[r:w]
	warm     bool      // idleBuffer was too small since the stream was silent last
	began    time.Time // the frame of which a part is there; zero if none is
	deadline time.Time // of the stream
	small    [idleBuffer]byte
}

var (
	readBuffers = sync.Pool{New: func() any { b := make([]byte, batchSize); return &b }}
	warmBuffers = sync.Pool{New: func() any { b := make([]byte, warmBuffer); return &b }}
)

// next returns the next frame, nil if no whole one has come. It is good until the
// next fill.
func (f *frames) next() ([]byte, error) {
	for {
		size, n := binary.Uvarint(f.buf[f.r:f.w])
		switch {
		case n < 0:
			return nil, errFrameLength
		case n == 0:
			if f.w-f.r >= binary.MaxVarintLen64 {
				return nil, errFrameLength
			}
			return nil, nil
		case size > uint64(f.limit):
			return nil, errFrameTooLarge
		case int(size) > f.w-f.r-n:
			return nil, nil
		}
		at := f.r + n
		f.r = at + int(size)
		f.began = time.Time{}
		if size > 0 { // an empty frame says nothing
			return f.buf[at:f.r:f.r], nil
		}
	}
}

// fill reads what comes next, and returns how much. Frames that were taken before
// are gone.
func (f *frames) fill() (n int, err error) {
	f.growBuffer()
	due := f.due()
	if !due.IsZero() && (f.deadline.IsZero() || f.deadline.After(due) || due.Sub(f.deadline) >= deadlineStep) {
		err = f.setDeadline(due)
	}
	for err == nil {
		n, err = f.s.Read(f.buf[f.w:])
		if n > 0 || !neterr.IsTimeout(err) {
			break
		}
		if f.r == f.w { // between frames, when a peer may be silent for ever
			f.warm = false
			f.growBuffer()
			due = time.Time{}
		} else if !now().Before(due) {
			break
		}
		err = f.setDeadline(due) // it was that of an earlier read
	}
	f.w += n
	switch {
	case n > 0:
		return n, nil
	case err == nil:
		err = io.ErrNoProgress
	}
	return 0, err
}

// growBuffer chooses a buffer: a small one while little comes, the next larger one when
// that was filled, and for a frame that is larger than all one that doubles as it is
// filled.
func (f *frames) growBuffer() {
	have := f.w - f.r
	switch {
	case f.w == len(f.buf) && len(f.buf) == idleBuffer: // more is there
		f.warm = true
		f.use(*warmBuffers.Get().(*[]byte))
	case f.w == len(f.buf) && len(f.buf) == warmBuffer:
		f.use(*readBuffers.Get().(*[]byte))
	case have > 0 && f.w < len(f.buf):
	case have > 0 && f.r > 0 && 2*have <= len(f.buf):
		copy(f.buf, f.buf[f.r:f.w])
		f.r, f.w = 0, have
	case have > 0:
		f.use(make([]byte, min(2*len(f.buf), f.need())))
	case !f.warm:
		f.release()
		f.buf = f.small[:]
	case len(f.buf) != warmBuffer:
		f.release()
		f.buf = *warmBuffers.Get().(*[]byte)
	default:
		f.r, f.w = 0, 0
	}
}

// need is how long the frame is of which a part is there.
func (f *frames) need() int {
	size, n := binary.Uvarint(f.buf[f.r:f.w])
	return max(n, 0) + int(min(size, uint64(f.limit))) + binary.MaxVarintLen64
}

// use goes on with another buffer.
func (f *frames) use(b []byte) {
	n := copy(b, f.buf[f.r:f.w])
	f.release()
	f.buf, f.w = b, n
}

// release gives a buffer back.
func (f *frames) release() {
	b := f.buf
	switch len(b) {
	case batchSize:
		readBuffers.Put(&b)
	case warmBuffer:
		warmBuffers.Put(&b)
	}
	f.buf, f.r, f.w = nil, 0, 0
}

// due is when the read that follows must have brought something: a frame that has begun
// must come at a least rate, and a buffer that is kept between frames is given back. It is
// zero if neither is so.
func (f *frames) due() time.Time {
	if f.r == f.w && !f.warm {
		return time.Time{}
	}
	at := now()
	if f.r == f.w {
		return at.Add(warmth)
	}
	if f.began.IsZero() {
		f.began = at
	}
	whole := f.began.Add(frameStall + pacing.Allowance(int64(f.need())))
	if next := at.Add(frameStall); next.Before(whole) {
		return next
	}
	return whole
}

// setDeadline sets that of the stream. Each costs a timer, more than to read a small
// message; so one that is a little early, or that nobody needs any more, is left as it
// is until it passes.
func (f *frames) setDeadline(t time.Time) error {
	f.deadline = t
	return f.s.SetReadDeadline(t)
}
