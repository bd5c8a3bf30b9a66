package session

import (
	"errors"
	"io"
	"time"

	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// firstRead is what a stream without traffic waits with: it holds no buffer
	// until something has come.
	firstRead = 16
	// directBody is the size from which the rest of a body is read straight
	// into its own allocation.
	directBody = 4 << 10
	// maxBatch is the most messages handed over at once.
	maxBatch = 1024
	// sharedPayload is the size up to which payloads that come together share
	// an allocation, and sharedBlock its size: what a message that is kept may
	// keep with it. (Go takes memory for eight objects of 3 KiB at once, and for
	// two of 4 KiB.)
	sharedPayload = 1 << 10
	sharedBlock   = 3 << 10
)

// How a stream ended, apart from faults and errors of the transport.
var (
	errIdle      = errors.New("stream without traffic")
	errDeliver   = errors.New("delivery failed")
	errExcess    = errors.New("too many streams of a type, behind a slow delivery")
	errWithdrawn = errors.New("the type is not taken any more")
	errShrunk    = errors.New("message is larger than its type is now, and was not before")
)

// reader reads one inbound message stream.
type reader struct {
	s   *Session
	in  *receiver
	raw network.Stream

	first    [firstRead]byte
	ahead    []byte        // of first: what came with the header of the stream
	batch    [][]byte      // of the buffer in use
	block    []byte        // what is left of the allocation that small payloads share
	wire     int           // bytes on the wire of the batch
	unpacked int           // bytes of it that were compressed
	waits    *deadline     // until the deadline of the frame under way, or that of the next one
	inFrame  bool          // it is that of the frame under way
	began    time.Duration // when that began
	got      int64         // bytes of it, and of what came with them
}

// number reads the header of the stream: the number of the offer that it is for.
func (r *reader) number() (int, error) {
	r.arm(r.s.e.cfg.FrameTimeout)
	defer r.waits.end() // it may have to wait for its turn
	for have := 0; ; {
		n, err := r.read(r.first[have:])
		have += n
		number, size, fault := parseLength(r.first[:have], maxNumber)
		switch {
		case fault != FaultNone:
			return 0, FaultNumber
		case size > 0:
			r.ahead = r.first[size:have]
			return number, nil
		case n > 0:
		case err == io.EOF && have == 0:
			return 0, errIdle // it never said anything
		case err != nil && r.waits.expired.Load():
			return 0, errIdle
		case err != nil:
			return 0, r.broken(err)
		}
	}
}

// run reads until the stream ends. It returns nil at a proper end, and a Fault
// when the peer violated the protocol.
func (r *reader) run() error {
	if len(r.ahead) > 0 {
		if err := r.burst(r.ahead); err != nil {
			return err
		}
	}
	for {
		r.arm(r.s.e.cfg.ReceiveIdle)
		n, err := r.read(r.first[:])
		switch {
		case n > 0:
			// What came with the error comes again without data.
			if err := r.burst(r.first[:n]); err != nil {
				return err
			}
		case err == io.EOF:
			return nil
		case err != nil && r.waits.expired.Load():
			return errIdle
		case err != nil:
			return err
		}
	}
}

// header parses the header of a frame. The bounds are those of this moment: the
// type may be declared anew while the stream is open.
func (r *reader) header(b []byte) (h header, n int, err error) {
	h, n, fault := parseHeader(b, int(r.in.t.largest.Load()))
	if fault != FaultNone {
		return h, n, fault
	}
	if set := r.in.t.now.Load(); n > 0 && (set == nil || h.raw > set.spec.MaxSize) {
		return h, n, errShrunk
	}
	return h, n, nil
}

// burst reads on from the first bytes until it has emptied the stream, as far
// as it can tell without waiting. It holds a pooled buffer meanwhile.
func (r *reader) burst(data []byte) error {
	if h, n, err := r.header(data); err == nil && n > 0 && h.body >= directBody {
		return r.body(h, n, data[n:])
	}
	buf := readBuffers.Get().(*readBuffer)
	r.batch = buf.batch[:0]
	defer func() {
		buf.batch, r.batch, r.block = r.batch, nil, nil
		buf.release()
	}()
	for {
		rest, err := r.decode(data)
		if err != nil || len(rest) == 0 {
			return err
		}
		if h, n, _ := r.header(rest); n > 0 && h.body >= directBody {
			return r.body(h, n, rest[n:])
		}
		r.armFrame()
		have := copy(buf.b[:], rest)
		n, err := r.read(buf.b[have:])
		if n == 0 && err != nil {
			return r.broken(err)
		}
		data = buf.b[:have+n]
	}
}

// decode hands over the frames that data begins with and returns the
// incomplete one that follows them.
func (r *reader) decode(data []byte) (rest []byte, err error) {
	for {
		h, n, err := r.header(data)
		if err != nil {
			return nil, errors.Join(r.deliver(), err)
		}
		if n == 0 || len(data)-n < h.body {
			return data, r.deliver()
		}
		body := data[n : n+h.body]
		var payload []byte
		var fault Fault
		if h.flags == flagNone {
			payload = r.own(body, len(data)-n)
		} else {
			if err := r.mayUnpack(h, n+h.body); err != nil {
				return nil, err
			}
			if payload, fault = r.s.e.codec.decompress(h, body); fault != FaultNone {
				return nil, errors.Join(r.deliver(), fault)
			}
			r.unpacked += h.raw
		}
		r.inFrame = false
		r.batch = append(r.batch, payload)
		r.wire += n + h.body
		data = data[n+h.body:]
		if len(r.batch) == maxBatch || r.unpacked >= unpackBatch {
			if err := r.deliver(); err != nil {
				return nil, err
			}
		}
	}
}

// own copies a body out of the read buffer. left is how much of the buffer there
// is from there on, which bounds what further payloads may need.
func (r *reader) own(body []byte, left int) []byte {
	if len(body) == 0 || len(body) > sharedPayload {
		return append(make([]byte, 0, len(body)), body...)
	}
	if len(r.block) < len(body) {
		r.block = make([]byte, min(left, sharedBlock))
	}
	payload := r.block[:len(body):len(body)]
	r.block = r.block[len(body):]
	copy(payload, body)
	return payload
}

// body reads the rest of a large frame into an allocation of its own, of which
// it already has the beginning.
func (r *reader) body(h header, head int, have []byte) error {
	r.armFrame()
	b := growBody(nil, max(len(have), 1), h.body)
	n := copy(b, have)
	for n < h.body {
		if n == len(b) {
			b = growBody(b, n, h.body)
		}
		m, err := r.read(b[n:])
		n += m
		if m == 0 && err != nil {
			return r.broken(err)
		}
	}
	if h.flags != flagNone {
		if err := r.mayUnpack(h, head+h.body); err != nil {
			return err
		}
		var fault Fault
		if b, fault = r.s.e.codec.decompress(h, b); fault != FaultNone {
			return fault
		}
	}
	r.inFrame = false
	r.wire += head + h.body
	r.batch = append(r.batch, b)
	return r.deliver()
}

const (
	// growStep bounds what is allocated for a body of which little has come;
	// beyond it, what is allocated is at most growFactor times what has come.
	growStep   = 64 << 10
	growFactor = 16
)

// growBody gives room for the next part of a body of size bytes, of which have
// have come.
func growBody(b []byte, have, size int) []byte {
	next := make([]byte, min(size, max(growStep, have*growFactor)))
	copy(next, b)
	return next
}

// deliver hands over the batch.
func (r *reader) deliver() error {
	if len(r.batch) == 0 {
		return nil
	}
	r.waits.end() // the receiver's time is not the peer's
	err := r.s.deliver(r.in, r.batch, r.wire)
	clear(r.batch)
	r.batch, r.wire, r.unpacked = r.batch[:0], 0, 0
	return err
}

func (r *reader) read(b []byte) (int, error) {
	n, err := r.raw.Read(b)
	if n > 0 {
		r.s.Heard()
		if r.inFrame {
			r.moved(n)
		}
	}
	return n, err
}

// broken says what an error in the middle of a frame means. That of a stream
// whose connection has ended may wrap the connection's io.EOF, and is no fault.
func (r *reader) broken(err error) error {
	switch {
	case err == io.EOF:
		return FaultTruncated
	case r.waits.expired.Load():
		return FaultTimeout
	}
	return err
}

// armFrame sets the deadline of the frame under way, once.
func (r *reader) armFrame() {
	if !r.inFrame {
		r.inFrame, r.began, r.got = true, r.s.since(), 0
		r.waits.begin(r.began, r.s.e.cfg.FrameTimeout)
	}
}

// moved gives a frame of which n bytes have come more time: as much as they take at
// pacing.LowestRate, and no longer than FrameTimeout until the next ones.
func (r *reader) moved(n int) {
	r.got += int64(n)
	now, most := r.s.since(), r.s.e.cfg.FrameTimeout
	r.waits.begin(now, min(r.began+most+pacing.Allowance(r.got)-now, most))
}

// arm sets the deadline of the next frame.
func (r *reader) arm(d time.Duration) { r.waits.begin(r.s.since(), d) }
