package handshake

import (
	"bytes"
	"errors"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxFrame is the most bytes of a frame's body.
const MaxFrame = 64 << 10

// maxPrefix is the number of bytes in which the length MaxFrame is written.
const maxPrefix = 3

// readFrame reads one frame and not a byte more: what follows on the stream
// belongs to the session. The length is checked before anything is allocated,
// and the body grows only as it arrives.
func readFrame(r io.Reader) ([]byte, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(n)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return body.Bytes(), nil
}

// readLength reads a length in its shortest form.
func readLength(r io.Reader) (int, error) {
	var b [1]byte
	n := 0
	for i := range maxPrefix {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			if i > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		n |= int(b[0]&0x7f) << (7 * i)
		if b[0] < 0x80 {
			if i > 0 && b[0] == 0 {
				return 0, protocolError("frame length is not in its shortest form")
			}
			if n > MaxFrame {
				break
			}
			return n, nil
		}
	}
	return 0, protocolErrorf("frame exceeds %d bytes", MaxFrame)
}

// appendFrame puts the length before a body.
func appendFrame(dst, body []byte) []byte {
	return protowire.AppendBytes(dst, body)
}
