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
	ctlGoodbye byte = 3 // reason, 2 bytes, and message streams opened, 4 bytes; big endian

	ctlHead    = 2
	ctlMaxBody = 255
)

func appendPing(dst []byte, typ byte, nonce uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, typ, 8), nonce)
}

// goodbye ends a session. The number of streams lets the peer wait for those
// that are still on their way.
type goodbye struct {
	reason  handshake.Reason
	streams uint32 // message streams that the sender has opened in this session
}

func (g goodbye) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, ctlGoodbye, 6), g.reason.Code())
	return binary.BigEndian.AppendUint32(dst, g.streams)
}

func parseGoodbye(body []byte) goodbye {
	return goodbye{handshake.Reason(binary.BigEndian.Uint16(body)), binary.BigEndian.Uint32(body[2:])}
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
		return 6
	}
	return -1
}
