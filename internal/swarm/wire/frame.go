package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Kind says what a frame is. Frames of other kinds, which later versions may have,
// are skipped.
type Kind byte

// The kinds.
const (
	Announce Kind = 1 // Manifest, Whole, Coming
	Have     Kind = 2 // Have, Soon, Coming
	Want     Kind = 3 // Chunks
	Chunk    Kind = 4 // Index, Data
	Cancel   Kind = 5 // Chunks
	Gone     Kind = 6 // Reason
)

// Reason is why a node does not go on with a message.
type Reason byte

// The reasons. Others are taken for Dropped.
const (
	Dropped Reason = 0 // it no longer has it, and may be told of it again
	Refused Reason = 1 // it does not want it
	Busy    Reason = 2 // it has no room now, and may be told of it again
)

const (
	// Piece is the most bytes of a chunk in one frame, so that what matters more
	// never waits for more than that.
	Piece = 16 << 10
	// MaxFrame is the most bytes of a frame: an announcement of a message of MaxSize.
	MaxFrame = MaxChunks*len(Sum{}) + MaxHeader + 1<<10
)

// Frame is one frame. Which fields count is said at the kinds.
type Frame struct {
	Kind Kind
	// Number stands for the message, as the sender has announced it to the receiver;
	// with Yours as the receiver has announced it to the sender.
	Number uint32
	Yours  bool

	Manifest *Manifest
	Whole    bool // the sender has all chunks
	Coming   Set  // chunks that the sender sends without being asked
	Have     Set  // chunks that the sender has
	Soon     Set  // chunks that the sender has asked for
	Chunks   Set
	Index    int
	Data     []byte
	Reason   Reason
}

// ErrMalformed is what a frame is that breaks the rules.
var ErrMalformed = errors.New("malformed frame")

// Append appends a frame with its length before it.
func Append(b []byte, f *Frame) []byte {
	// The length goes before the body, once that is there: a buffer of its own for the
	// body would cost each piece of a chunk a second copy.
	at := len(b)
	b = append(b, make([]byte, lengthMost)...)
	b = appendBody(b, f)
	n := binary.PutUvarint(b[at:], uint64(len(b)-at-lengthMost))
	return append(b[:at+n], b[at+lengthMost:]...)
}

// lengthMost is how many bytes the length of a frame takes at most.
const lengthMost = 3

// ReadLength reads the length of a frame, in its shortest form. Errors: ErrMalformed; of
// r, io.ErrUnexpectedEOF in the middle.
func ReadLength(r io.ByteReader) (int, error) {
	n := 0
	for i := range lengthMost {
		b, err := r.ReadByte()
		switch {
		case err == io.EOF && i > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
		if n |= int(b&0x7f) << (7 * i); b&0x80 != 0 {
			continue
		}
		if i > 0 && b == 0 || n == 0 || n > MaxFrame {
			break
		}
		return n, nil
	}
	return 0, fmt.Errorf("%w: length", ErrMalformed)
}

func appendBody(body []byte, f *Frame) []byte {
	body = append(body, byte(f.Kind))
	ref := uint64(f.Number) << 1
	if f.Yours {
		ref |= 1
	}
	body = binary.AppendUvarint(body, ref)
	switch f.Kind {
	case Announce:
		m := f.Manifest
		body = binary.AppendUvarint(body, uint64(len(m.Type)))
		body = append(body, m.Type...)
		body = binary.AppendUvarint(body, uint64(m.Size))
		body = binary.AppendUvarint(body, uint64(len(m.Header)))
		body = append(body, m.Header...)
		for i := range m.Sums {
			body = append(body, m.Sums[i][:]...)
		}
		whole := byte(0)
		if f.Whole {
			whole = 1
		}
		body = appendSet(append(body, whole), f.Coming)
	case Have:
		body = appendSet(body, f.Have)
		body = appendSet(body, f.Soon)
		body = appendSet(body, f.Coming)
	case Want, Cancel:
		body = appendSet(body, f.Chunks)
	case Chunk:
		body = binary.AppendUvarint(body, uint64(f.Index))
		body = append(body, f.Data...)
	case Gone:
		body = append(body, byte(f.Reason))
	}
	return body
}

// Decode reads a frame, without its length. Data and the header point into b. Of a
// kind that is not known there is the kind alone.
func Decode(b []byte) (f Frame, err error) {
	bad := func(what string) (Frame, error) { return Frame{}, fmt.Errorf("%w: %s", ErrMalformed, what) }
	if len(b) == 0 {
		return bad("empty")
	}
	f.Kind = Kind(b[0])
	if f.Kind < Announce || f.Kind > Gone {
		return Frame{Kind: f.Kind}, nil
	}
	ref, b, ok := uvarint(b[1:], math.MaxUint32<<1|1)
	if !ok {
		return bad("number")
	}
	f.Number, f.Yours = uint32(ref>>1), ref&1 == 1
	switch f.Kind {
	case Announce:
		return decodeAnnounce(f, b)
	case Have:
		for _, s := range []*Set{&f.Have, &f.Soon, &f.Coming} {
			if *s, b, ok = decodeSet(b); !ok {
				return bad("chunks")
			}
		}
	case Want, Cancel:
		if f.Chunks, b, ok = decodeSet(b); !ok {
			return bad("chunks")
		}
	case Chunk:
		var i uint64
		if i, b, ok = uvarint(b, MaxChunks-1); !ok || len(b) == 0 || len(b) > Piece {
			return bad("chunk")
		}
		f.Index, f.Data, b = int(i), b, nil
	case Gone:
		if len(b) != 1 {
			return bad("reason")
		}
		f.Reason, b = Reason(b[0]), nil
	}
	if len(b) > 0 {
		return bad("more than there should be")
	}
	return f, nil
}

func decodeAnnounce(f Frame, b []byte) (Frame, error) {
	m := new(Manifest)
	n, b, ok := uvarint(b, MaxType)
	if !ok || int(n) > len(b) {
		return Frame{}, fmt.Errorf("%w: type", ErrManifest)
	}
	m.Type, b = string(b[:n]), b[n:]
	size, b, ok := uvarint(b, MaxSize)
	if !ok {
		return Frame{}, fmt.Errorf("%w: size", ErrManifest)
	}
	m.Size = int(size)
	n, b, ok = uvarint(b, MaxHeader)
	if !ok || int(n) > len(b) {
		return Frame{}, fmt.Errorf("%w: header", ErrManifest)
	}
	m.Header, b = b[:n:n], b[n:]
	count := Chunks(m.Size)
	if len(b) < count*len(Sum{})+1 {
		return Frame{}, fmt.Errorf("%w: chunks", ErrManifest)
	}
	m.Sums = make([]Sum, count)
	for i := range m.Sums {
		b = b[copy(m.Sums[i][:], b):]
	}
	if b[0] > 1 || f.Yours {
		return Frame{}, fmt.Errorf("%w: flags", ErrMalformed)
	}
	f.Manifest, f.Whole = m, b[0] == 1
	if f.Coming, b, ok = decodeSet(b[1:]); !ok || len(b) > 0 {
		return Frame{}, fmt.Errorf("%w: chunks", ErrMalformed)
	}
	return f, m.Validate()
}
