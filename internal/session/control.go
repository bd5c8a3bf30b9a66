package session

import (
	"encoding/binary"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// Control frames (SPEC.md): type, length of the body as a uvarint, body. Types
// that are not known are skipped.
const (
	ctlPing    byte = 1 // 8 bytes that come back in the pong
	ctlPong    byte = 2
	ctlGoodbye byte = 3 // reason, 2 bytes, and message streams opened, 4 bytes; big endian
	ctlOffers  byte = 4 // entries of offers
	ctlReady   byte = 5 // empty: these were the first offers
	ctlRecord  byte = 6 // the sender's signed address record
	ctlPayload byte = 7 // the application's part of the hello, renewed

	ctlMaxHead = 1 + 3
	ctlMaxBody = 32 << 10
)

// Bounds of the bodies.
const (
	maxRecord  = 8 << 10
	maxPayload = handshake.MaxPayload
)

func appendControl(dst []byte, typ byte, body []byte) []byte {
	dst = binary.AppendUvarint(append(dst, typ), uint64(len(body)))
	return append(dst, body...)
}

func appendPing(dst []byte, typ byte, nonce uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, typ, 8), nonce)
}

// goodbye ends a session. The number of streams lets the peer wait for those
// that are still on their way.
type goodbye struct {
	reason  handshake.Reason
	streams uint32 // message streams that the sender has opened in this session
	text    string // the application's, cleaned
}

func (g goodbye) append(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, ctlGoodbye), uint64(6+len(g.text)))
	dst = binary.BigEndian.AppendUint16(dst, g.reason.Code())
	return append(binary.BigEndian.AppendUint32(dst, g.streams), g.text...)
}

func parseGoodbye(body []byte) goodbye {
	return goodbye{handshake.Reason(binary.BigEndian.Uint16(body)), binary.BigEndian.Uint32(body[2:]), obs.Clean(string(body[6:]))}
}

// parseControl reads one control frame from the front of b. While b ends in its
// middle, n is 0; need is then the length of the whole frame, 0 while that is
// not known. What is wrong with a frame is found before the rest of it has come.
func parseControl(b []byte) (typ byte, body []byte, n, need int, fault Fault) {
	if len(b) < 2 {
		return 0, nil, 0, 0, FaultNone
	}
	size, head, fault := parseLength(b[1:min(len(b), ctlMaxHead)], ctlMaxBody)
	if fault != FaultNone || head == 0 && len(b) >= ctlMaxHead {
		return 0, nil, 0, 0, FaultControl
	}
	if head == 0 {
		return 0, nil, 0, 0, FaultNone
	}
	if least, most := controlBody(b[0]); size < least || size > most {
		return 0, nil, 0, 0, FaultControl
	}
	head++
	if len(b) < head+size {
		return 0, nil, 0, head + size, FaultNone
	}
	return b[0], b[head : head+size], head + size, 0, FaultNone
}

// controlBody is how long the body of a frame may be.
func controlBody(typ byte) (least, most int) {
	switch typ {
	case ctlPing, ctlPong:
		return 8, 8
	case ctlGoodbye:
		return 6, 6 + obs.MaxRemoteText
	case ctlOffers:
		return 1, ctlMaxBody
	case ctlReady:
		return 0, 0
	case ctlRecord:
		return 1, maxRecord
	case ctlPayload:
		return 0, maxPayload
	}
	return 0, ctlMaxBody
}
