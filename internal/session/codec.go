package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest window of a zstd frame, sent or accepted.
const zstdWindow = 8 << 20

// codec compresses and decompresses payloads. It is safe for concurrent use;
// the zstd state, some megabytes, is made on first use.
type codec struct {
	enc func() (*zstd.Encoder, error)
	dec func() (*zstd.Decoder, error)
}

func newCodec() *codec {
	return &codec{
		enc: sync.OnceValues(func() (*zstd.Encoder, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(zstdWindow/2), zstd.WithLowerEncoderMem(true))
		}),
		dec: sync.OnceValues(func() (*zstd.Decoder, error) {
			return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(zstdWindow),
				zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
		}),
	}
}

// compress tries to make a payload smaller. It gives the payload itself, with
// flagNone, when that saves less than one byte in sixteen.
func (c *codec) compress(payload []byte, how msgtype.Compression) ([]byte, byte) {
	var out []byte
	var flags byte
	switch how {
	case msgtype.CompressS2:
		buf := scratches.Get().(*[]byte)
		defer scratches.Put(buf)
		if !promising(buf, payload) {
			return payload, flagNone
		}
		out, flags = encodeS2(buf, payload), flagS2
	case msgtype.CompressZstd:
		enc, err := c.enc()
		if err != nil {
			return payload, flagNone
		}
		out, flags = enc.EncodeAll(payload, nil), flagZstd
	default:
		return payload, flagNone
	}
	switch {
	case !shrunk(len(out), len(payload)):
		return payload, flagNone
	case len(payload) > mostUnpacked(len(out)):
		return spreadS2(payload), flagS2
	case flags == flagS2:
		out = bytes.Clone(out) // what it is in is used again
	}
	return out, flags
}

// encodeS2 compresses into a scratch buffer, which grows as needed.
func encodeS2(buf *[]byte, payload []byte) []byte {
	if most := s2.MaxEncodedLen(len(payload)); cap(*buf) < most {
		*buf = make([]byte, 0, most)
	}
	return s2.Encode((*buf)[:0:cap(*buf)], payload)
}

const (
	sampleAbove = 128 << 10 // payloads that are sampled before they are compressed
	sampleSize  = 8 << 10
	samples     = 3
)

// promising tells whether compressing a payload may be worth while. Of a large
// one samples are tried, at its beginning, middle and end: what is random or
// compressed already is then not worked through in vain. What repeats only over
// longer distances, or lies between the samples, is missed.
func promising(buf *[]byte, payload []byte) bool {
	if len(payload) <= sampleAbove {
		return true
	}
	for i := range samples {
		at := (len(payload) - sampleSize) * i / (samples - 1)
		if shrunk(len(encodeS2(buf, payload[at:at+sampleSize])), sampleSize) {
			return true
		}
	}
	return false
}

func shrunk(packed, raw int) bool { return packed <= raw-raw/16 && packed < raw }

// spreadS2 encodes a payload that shrinks by more than a receiver lets pass: so
// much of its beginning goes as it is that the rest may shrink as it likes.
func spreadS2(payload []byte) []byte {
	plain := (len(payload)-unpackFree)/unpackRatio + 1
	b := binary.AppendUvarint(nil, uint64(len(payload)))
	switch n := plain - 1; { // a literal, as Snappy has it
	case n < 60:
		b = append(b, byte(n)<<2)
	case n < 1<<8:
		b = append(b, 60<<2, byte(n))
	case n < 1<<16:
		b = append(b, 61<<2, byte(n), byte(n>>8))
	default:
		b = append(b, 62<<2, byte(n), byte(n>>8), byte(n>>16))
	}
	b = append(b, payload[:plain]...)
	// What follows refers to nothing before it: distances are relative, and a block
	// begins with no repetition.
	rest := s2.Encode(nil, payload[plain:])
	_, n := binary.Uvarint(rest)
	return append(b, rest[n:]...)
}

// scratches holds output buffers of the compressor.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// decompress gives the payload of a compressed body as an allocation of its
// own. Its size is what the header says, which has been checked; a body that
// holds more or less than that is a fault.
func (c *codec) decompress(h header, body []byte) ([]byte, Fault) {
	switch h.flags {
	case flagS2:
		n, err := s2.DecodedLen(body)
		switch {
		case errors.Is(err, s2.ErrTooLarge): // more than an int has, on 32 bits
			return nil, FaultBomb
		case err != nil:
			return nil, FaultCorrupt
		case n != h.raw:
			return nil, FaultBomb
		}
		out, err := s2.Decode(make([]byte, n), body)
		if err != nil || len(out) != n {
			return nil, FaultCorrupt
		}
		return out, FaultNone
	case flagZstd:
		dec, err := c.dec()
		if err != nil {
			return nil, FaultCorrupt
		}
		out, err := dec.DecodeAll(body, make([]byte, 0, h.raw))
		switch {
		case err == zstd.ErrDecoderSizeExceeded || len(out) > h.raw:
			return nil, FaultBomb
		case err != nil || len(out) != h.raw:
			return nil, FaultCorrupt
		}
		return out, FaultNone
	}
	return nil, FaultFlags
}
