package reqresp

import (
	"encoding/binary"
	"io"
	"math"
)

// A caller begins a stream with the number under which the peer offers the
// method that all calls on it are of.

func appendHead(dst []byte, number uint32) []byte { return binary.AppendUvarint(dst, uint64(number)) }

// readHead reads no byte beyond the number.
func readHead(r io.Reader) (uint32, error) {
	var b [5]byte
	for n := range b {
		if _, err := io.ReadFull(r, b[n:n+1]); err != nil {
			if n > 0 {
				err = midFrame(err)
			}
			return 0, err
		}
		if b[n] >= 0x80 {
			continue
		}
		v, m := uvarint(b[:n+1])
		if m <= 0 || v == 0 || v > math.MaxInt32 {
			return 0, FaultHead
		}
		return uint32(v), nil
	}
	return 0, FaultHead
}
