package discovery

import (
	"bytes"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxPrefix is the number of bytes in which the largest length is written.
const maxPrefix = 3

// readFrame reads one frame with a body of at most limit bytes. The length is
// checked before anything is allocated, and the body grows only as it arrives.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	n, err := readLength(r, limit)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(n)); err != nil {
		return nil, cutShort(err)
	}
	return body.Bytes(), nil
}

// readLength reads a length in its shortest form.
func readLength(r io.Reader, limit int) (int, error) {
	var b [1]byte
	n := 0
	for i := range maxPrefix {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, cutShort(err)
		}
		n |= int(b[0]&0x7f) << (7 * i)
		if b[0] < 0x80 {
			if i > 0 && b[0] == 0 {
				return 0, faultf(FaultMalformed, "frame length is not in its shortest form")
			}
			if n > limit {
				break
			}
			return n, nil
		}
	}
	return 0, faultf(FaultOversize, "frame exceeds %d bytes", limit)
}

// cutShort makes a stream that was closed in mid-frame a fault. One that was
// reset is none: that is what broken connections look like. Their errors may
// wrap the io.EOF of the connection; that of a stream is not wrapped.
func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return FaultTruncated
	}
	return err
}

// appendFrame puts the length before a body.
func appendFrame(dst, body []byte) []byte {
	return protowire.AppendBytes(dst, body)
}
