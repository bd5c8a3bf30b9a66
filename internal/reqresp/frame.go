package reqresp

import (
	"bufio"
	"encoding/binary"
	"io"
)

// kind is what a frame says.
type kind byte

const (
	kindOpen   kind = 1 + iota // begins a call
	kindData                   // a part of a message
	kindError                  // the call has failed; nothing follows
	kindCancel                 // the caller is no longer interested
	kindCredit                 // the receiver of a stream has room for more
)

// flagEnd on a data or open frame: the sender has nothing more to say in this
// call.
const flagEnd = 0x80

const (
	// maxFrame bounds the body of a frame, maxFragment the part of a message that
	// this implementation puts into one: what waits behind it waits that long. Two
	// of them, with what stands before them (maxPiece each), are one write.
	maxFrame    = 64 << 10
	maxFragment = 32<<10 - 32
	maxPiece    = maxFragment + maxHeader + binary.MaxVarintLen32
	// maxHeader is the length of the longest header: type, call, size.
	maxHeader = 1 + binary.MaxVarintLen64 + 3
	minHeader = 3
)

// header is what stands before the body of a frame.
type header struct {
	kind kind
	end  bool
	call uint64 // 0 is the stream itself
	size int    // of the body
}

func appendHeader(dst []byte, h header) []byte {
	t := byte(h.kind)
	if h.end {
		t |= flagEnd
	}
	dst = append(dst, t)
	dst = binary.AppendUvarint(dst, h.call)
	return binary.AppendUvarint(dst, uint64(h.size))
}

// parseHeader reads a header from the beginning of b and returns its length. It
// is 0 without a fault when b is too short.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < minHeader {
		return h, 0, nil
	}
	h.kind, h.end = kind(b[0]&^flagEnd), b[0]&flagEnd != 0
	if h.kind < kindOpen || h.kind > kindCredit || h.end && h.kind != kindOpen && h.kind != kindData {
		return h, 0, FaultFrame
	}
	call, m := uvarint(b[1:])
	if m < 0 {
		return h, 0, FaultFrame
	}
	if m == 0 {
		return h, 0, nil
	}
	size, k := uvarint(b[1+m:])
	if k < 0 || k > 0 && size > maxFrame || k == 0 && len(b) >= maxHeader {
		return h, 0, FaultFrame
	}
	if k == 0 {
		return h, 0, nil
	}
	h.call, h.size = call, int(size)
	return h, 1 + m + k, nil
}

// uvarint is binary.Uvarint for numbers in their shortest form. n is 0 when b
// ends too early and negative for what is no such number.
func uvarint(b []byte) (v uint64, n int) {
	v, n = binary.Uvarint(b)
	if n > 1 && b[n-1] == 0 {
		return 0, -1
	}
	return v, n
}

// frameReader reads the frames of a stream, one after the other.
type frameReader struct {
	br   *bufio.Reader
	left int // of the body of the current frame
}

// readBuffer holds many small frames; larger bodies go past it.
const readBuffer = 4 << 10

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{br: bufio.NewReaderSize(r, readBuffer)}
}

// next skips what is left of a frame and reads the header of the next one. Its
// error is io.EOF only where a frame may begin.
func (r *frameReader) next() (header, error) {
	if err := r.skip(); err != nil {
		return header{}, err
	}
	for want := minHeader; ; want++ {
		if n := r.br.Buffered(); n > want {
			want = min(n, maxHeader)
		}
		b, err := r.br.Peek(want)
		h, n, fault := parseHeader(b)
		switch {
		case fault != nil:
			return header{}, fault
		case n > 0:
			r.br.Discard(n)
			r.left = h.size
			return h, nil
		case err != nil:
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return header{}, err
		}
	}
}

// skip drops what is left of the frame.
func (r *frameReader) skip() error {
	n, err := r.br.Discard(r.left)
	r.left -= n
	return midFrame(err)
}

// uvarint reads a number from the frame.
func (r *frameReader) uvarint() (uint64, error) {
	b, err := r.br.Peek(min(r.left, binary.MaxVarintLen64))
	v, n := uvarint(b)
	if n > 0 {
		r.br.Discard(n)
		r.left -= n
		return v, nil
	}
	if n == 0 && err != nil {
		return 0, midFrame(err)
	}
	return 0, FaultFrame
}

// read fills p from the frame.
func (r *frameReader) read(p []byte) error {
	if len(p) > r.left {
		return FaultFrame
	}
	n, err := io.ReadFull(r.br, p)
	r.left -= n
	return midFrame(err)
}

// midFrame is the error of a read that must not meet the end of the stream.
func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
