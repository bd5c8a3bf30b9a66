package handshake

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// Field numbers; SPEC.md has the messages in full.
const (
	frameHello   protowire.Number = 1
	frameRefusal protowire.Number = 2
	frameAccept  protowire.Number = 3

	helloVersionMin protowire.Number = 1
	helloVersionMax protowire.Number = 2
	helloChainID    protowire.Number = 3
	helloGenesis    protowire.Number = 4
	helloAgent      protowire.Number = 5
	helloCapability protowire.Number = 6
	helloInstance   protowire.Number = 7
	helloPayload    protowire.Number = 8

	refusalReason protowire.Number = 1
	refusalHello  protowire.Number = 2
	refusalText   protowire.Number = 3

	acceptVersion protowire.Number = 1
	acceptSession protowire.Number = 2
)

// message is one frame decoded: exactly one of the three.
type message struct {
	hello   *Hello
	refusal *refusal
	accept  *accept
}

type refusal struct {
	text   string // the application's
	reason Reason
	hello  *Hello // what the refusing side is, when it says so
}

type accept struct {
	version uint32
	session uint64
}

func (m message) kind() string {
	switch {
	case m.hello != nil:
		return "hello"
	case m.refusal != nil:
		return "refusal"
	}
	return "accept"
}

// encode gives the body of a frame.
func (m message) encode() []byte {
	var num protowire.Number
	var body []byte
	switch {
	case m.hello != nil:
		num, body = frameHello, appendHello(nil, *m.hello)
	case m.refusal != nil:
		num, body = frameRefusal, appendVarint(nil, refusalReason, uint64(m.refusal.reason))
		if m.refusal.hello != nil {
			body = appendBytes(body, refusalHello, appendHello(nil, *m.refusal.hello))
		}
		if m.refusal.text != "" {
			body = appendBytes(body, refusalText, []byte(m.refusal.text))
		}
	default:
		num, body = frameAccept, appendVarint(nil, acceptVersion, uint64(m.accept.version))
		body = protowire.AppendTag(body, acceptSession, protowire.Fixed64Type)
		body = protowire.AppendFixed64(body, m.accept.session)
	}
	return appendBytes(nil, num, body)
}

func appendHello(b []byte, h Hello) []byte {
	b = appendVarint(b, helloVersionMin, uint64(h.VersionMin))
	b = appendVarint(b, helloVersionMax, uint64(h.VersionMax))
	b = appendBytes(b, helloChainID, []byte(h.ChainID))
	b = appendBytes(b, helloGenesis, h.Genesis)
	b = appendBytes(b, helloAgent, []byte(h.Agent))
	for _, c := range h.Capabilities {
		b = appendBytes(b, helloCapability, []byte(c))
	}
	b = protowire.AppendTag(b, helloInstance, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, h.Instance)
	return appendBytes(b, helloPayload, h.Payload)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

// decode reads the body of a frame. Every error is a protocol error. The
// result shares no memory with b.
func decode(b []byte) (message, error) {
	var m message
	kinds := 0
	err := fields(b, func(num protowire.Number, v value) error {
		var err error
		switch num {
		case frameHello:
			m.hello, err = decodeHello(v)
		case frameRefusal:
			m.refusal, err = decodeRefusal(v)
		case frameAccept:
			m.accept, err = decodeAccept(v)
		default:
			return nil
		}
		kinds++
		return err
	})
	if err == nil && kinds != 1 {
		err = protocolErrorf("frame holds %d messages", kinds)
	}
	if err != nil {
		return message{}, err
	}
	return m, nil
}

func decodeHello(outer value) (*Hello, error) {
	b, err := outer.bytes("hello", MaxFrame)
	if err != nil {
		return nil, err
	}
	h := &Hello{}
	var once onceFields
	err = fields(b, func(num protowire.Number, v value) (err error) {
		if num != helloCapability && num <= helloPayload {
			if err := once.see(num); err != nil {
				return err
			}
		}
		switch num {
		case helloVersionMin:
			h.VersionMin, err = v.uint32("version")
		case helloVersionMax:
			h.VersionMax, err = v.uint32("version")
		case helloChainID:
			h.ChainID, err = v.text("chain ID", MaxChainID)
		case helloGenesis:
			h.Genesis, err = v.copied("genesis", MaxGenesis)
		case helloAgent:
			h.Agent, err = v.text("agent", MaxAgent)
			h.Agent = obs.Clean(h.Agent)
		case helloCapability:
			var c string
			if len(h.Capabilities) == MaxCapabilities {
				return protocolErrorf("more than %d capabilities", MaxCapabilities)
			}
			if c, err = v.text("capability", MaxCapability); err == nil {
				h.Capabilities = append(h.Capabilities, c)
			}
		case helloInstance:
			h.Instance, err = v.fixed64("instance")
		case helloPayload:
			h.Payload, err = v.copied("payload", MaxPayload)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := h.Validate(); err != nil {
		return nil, protocolErrorf("hello: %v", err)
	}
	return h, nil
}

func decodeRefusal(outer value) (*refusal, error) {
	b, err := outer.bytes("refusal", MaxFrame)
	if err != nil {
		return nil, err
	}
	r := &refusal{}
	var once onceFields
	err = fields(b, func(num protowire.Number, v value) (err error) {
		switch num {
		case refusalReason:
			var n uint32
			if n, err = v.uint32("reason"); err == nil && n > math.MaxUint16 {
				err = protocolErrorf("reason %d is out of range", n)
			}
			r.reason = Reason(n)
		case refusalHello:
			r.hello, err = decodeHello(v)
		case refusalText:
			r.text, err = v.text("text", obs.MaxRemoteText)
		default:
			return nil
		}
		if err == nil {
			err = once.see(num)
		}
		return err
	})
	if err == nil && r.reason == ReasonNone {
		err = protocolError("refusal without a reason")
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func decodeAccept(outer value) (*accept, error) {
	b, err := outer.bytes("accept", MaxFrame)
	if err != nil {
		return nil, err
	}
	a := &accept{}
	var once onceFields
	err = fields(b, func(num protowire.Number, v value) (err error) {
		if num != acceptVersion && num != acceptSession {
			return nil
		}
		if err := once.see(num); err != nil {
			return err
		}
		if num == acceptVersion {
			a.version, err = v.uint32("version")
		} else {
			a.session, err = v.fixed64("session")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// value is one field's value, not yet looked at.
type value struct {
	typ protowire.Type
	raw []byte
}

// fields calls f for each field of a message in turn.
func fields(b []byte, f func(protowire.Number, value) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protocolErrorf("bad field: %v", protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return protocolErrorf("bad field: %v", protowire.ParseError(n))
		}
		if err := f(num, value{typ, b[:n]}); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// onceFields remembers the fields seen, numbers 1 to 8.
type onceFields uint16

func (o *onceFields) see(num protowire.Number) error {
	bit := onceFields(1) << num
	if *o&bit != 0 {
		return protocolErrorf("field %d is there twice", num)
	}
	*o |= bit
	return nil
}

func (v value) bytes(name string, limit int) ([]byte, error) {
	if v.typ != protowire.BytesType {
		return nil, protocolErrorf("%s has wire type %d", name, v.typ)
	}
	b, _ := protowire.ConsumeBytes(v.raw)
	if len(b) > limit {
		return nil, protocolErrorf("%s of %d bytes exceeds %d", name, len(b), limit)
	}
	return b, nil
}

func (v value) copied(name string, limit int) ([]byte, error) {
	b, err := v.bytes(name, limit)
	return append([]byte(nil), b...), err
}

func (v value) text(name string, limit int) (string, error) {
	b, err := v.bytes(name, limit)
	if err == nil && !utf8.Valid(b) {
		err = protocolErrorf("%s is not UTF-8", name)
	}
	return string(b), err
}

func (v value) uint32(name string) (uint32, error) {
	if v.typ != protowire.VarintType {
		return 0, protocolErrorf("%s has wire type %d", name, v.typ)
	}
	n, _ := protowire.ConsumeVarint(v.raw)
	if n > math.MaxUint32 {
		return 0, protocolErrorf("%s %d is out of range", name, n)
	}
	return uint32(n), nil
}

func (v value) fixed64(name string) (uint64, error) {
	if v.typ != protowire.Fixed64Type {
		return 0, protocolErrorf("%s has wire type %d", name, v.typ)
	}
	n, _ := protowire.ConsumeFixed64(v.raw)
	return n, nil
}
