package session

import (
	"encoding/binary"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// Control frames (SPEC.md): type, length of the body, body. Types that are not
// known are skipped.
const (
	ctlPing    byte = 1 // 8 bytes that come back in the pong
	ctlPong    byte = 2
	ctlGoodbye byte = 3 // reason, 2 bytes, big endian

	ctlHead    = 2
	ctlMaxBody = 255
)

func appendPing(dst []byte, typ byte, nonce uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, typ, 8), nonce)
}

func appendGoodbye(dst []byte, r handshake.Reason) []byte {
	return binary.BigEndian.AppendUint16(append(dst, ctlGoodbye, 2), r.Code())
}

// parseControl reads one control frame from the front of b. n is 0 while b
// ends in its middle.
func parseControl(b []byte) (typ byte, body []byte, n int, fault Fault) {
	if len(b) < ctlHead {
		return 0, nil, 0, FaultNone
	}
	size := int(b[1])
	if want := controlBody(b[0]); want >= 0 && size != want {
		return 0, nil, 0, FaultControl
	}
	if len(b) < ctlHead+size {
		return 0, nil, 0, FaultNone
	}
	return b[0], b[ctlHead : ctlHead+size], ctlHead + size, FaultNone
}

// controlBody is how long the body of a known type is, -1 for an unknown one.
func controlBody(typ byte) int {
	switch typ {
	case ctlPing, ctlPong:
		return 8
	case ctlGoodbye:
		return 2
	}
	return -1
}
