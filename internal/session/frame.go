package session

import (
	"encoding/binary"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// A frame on a message stream (SPEC.md):
//
//	uvarint  length of the body
//	byte     flags: how the body is compressed
//	uvarint  length before compression, only when compressed
//	bytes    body
const (
	flagNone byte = 0
	flagS2   byte = 1
	flagZstd byte = 2

	maxLenBytes = 5 // uvarint of 1 GiB
	maxHeader   = maxLenBytes + 1 + maxLenBytes
)

// header is what stands before a frame's body.
type header struct {
	body  int // bytes that follow
	raw   int // bytes of the payload; equals body when not compressed
	flags byte
}

func appendHeader(dst []byte, h header) []byte {
	dst = binary.AppendUvarint(dst, uint64(h.body))
	dst = append(dst, h.flags)
	if h.flags != flagNone {
		dst = binary.AppendUvarint(dst, uint64(h.raw))
	}
	return dst
}

// parseHeader reads a header from the front of b and tells how many bytes it
// took; n is 0 while b is too short to tell. Everything that can be known to
// be wrong is found here, before anything is allocated for the body.
func parseHeader(b []byte, maxSize int) (h header, n int, fault Fault) {
	body, n, fault := parseLength(b, maxSize)
	if n == 0 || fault != FaultNone {
		return header{}, 0, fault
	}
	if n == len(b) {
		return header{}, 0, FaultNone
	}
	h = header{body: body, raw: body, flags: b[n]}
	n++
	switch h.flags {
	case flagNone:
		return h, n, FaultNone
	case flagS2, flagZstd:
	default:
		return header{}, 0, FaultFlags
	}
	raw, m, fault := parseLength(b[n:], maxSize)
	if fault != FaultNone {
		return header{}, 0, FaultBomb
	}
	if m == 0 {
		return header{}, 0, FaultNone
	}
	h.raw = raw
	switch {
	case h.body >= h.raw:
		return header{}, 0, FaultCorrupt // compression that does not shrink is not sent
	case h.raw > mostUnpacked(h.body):
		return header{}, 0, FaultBomb
	}
	return h, n + m, FaultNone
}

// parseLength reads a uvarint of at most maxLenBytes bytes in its shortest
// form. n is 0 while b ends in its middle.
func parseLength(b []byte, limit int) (v, n int, fault Fault) {
	var u uint64
	for i := range min(len(b), maxLenBytes) {
		c := b[i]
		u |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if c == 0 && i > 0 {
			return 0, 0, FaultCorrupt
		}
		if u > uint64(limit) {
			return 0, 0, FaultOversize
		}
		return int(u), i + 1, FaultNone
	}
	if len(b) >= maxLenBytes {
		return 0, 0, FaultOversize
	}
	return 0, 0, FaultNone
}

// countFrames tells how many whole frames b begins with. b comes from this
// side's own queue.
func countFrames(b []byte) (frames int) {
	for {
		h, n, fault := parseHeader(b, msgtype.MaxSize)
		if n == 0 || fault != FaultNone || len(b)-n < h.body {
			return frames
		}
		frames++
		b = b[n+h.body:]
	}
}

// splitFrames looks at whole frames of which the first n bytes were written: how
// many of them went out whole, and where the first one is that was not begun.
func splitFrames(b []byte, n int) (written, next int) {
	for next < n {
		h, head, fault := parseHeader(b[next:], msgtype.MaxSize)
		if head == 0 || fault != FaultNone {
			return written, len(b)
		}
		if next += head + h.body; next <= n {
			written++
		}
	}
	return written, next
}

// size is how many bytes the header takes.
func (h header) size() int {
	n := uvarintLen(h.body) + 1
	if h.flags != flagNone {
		n += uvarintLen(h.raw)
	}
	return n
}

func uvarintLen(v int) (n int) {
	for n = 1; v >= 0x80; n++ {
		v >>= 7
	}
	return n
}
