package dispatcher

import (
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// Message is what the dispatcher hands out. An implementation must be safe for
// concurrent use, because every subscriber gets the same one.
type Message interface {
	// MessageType names the type; see ValidType.
	MessageType() string
	// MessageFrom is the text of the peer ID it came from, empty for a
	// message of this process.
	MessageFrom() string
	// Data is the payload. Nobody may change it.
	Data() []byte
	// Hash identifies the message by type and content. The duplicate filter
	// asks for it, except of a *BasicMessage, whose payload it reads itself, and
	// of a Carrier.
	Hash() string
}

// Carrier is what a Message may be beside: a *BasicMessage with something added.
// The duplicate filter takes both for the same message, and does not ask for its
// Hash.
type Carrier interface {
	Basic() *BasicMessage
}

// basicOf is the BasicMessage that m is or carries, nil without one.
func basicOf(m Message) *BasicMessage {
	switch m := m.(type) {
	case *BasicMessage:
		return m
	case Carrier:
		return m.Basic()
	}
	return nil
}

// BasicMessage is the Message of this library. Make one with NewMessage.
type BasicMessage struct {
	head *head // shared by the messages of one AppendMessages
	data []byte
	// A pointer keeps the struct small: most messages are never asked for their
	// hash.
	hash atomic.Pointer[string]
}

// head is what messages that came together have in common.
type head struct{ msgType, from string }

// NewMessage returns a message. It keeps data without copying it: the caller
// must not change it afterwards. A bad msgType is refused when the message is
// put, not here.
func NewMessage(msgType, from string, data []byte) *BasicMessage {
	m := &struct {
		BasicMessage
		of head
	}{of: head{msgType, from}}
	m.head, m.data = &m.of, data
	return &m.BasicMessage
}

// of is the head of a message, also of one that no constructor has made.
func (m *BasicMessage) of() head {
	if m.head == nil {
		return head{}
	}
	return *m.head
}

// MessageType implements Message.
func (m *BasicMessage) MessageType() string { return m.of().msgType }

// MessageFrom implements Message.
func (m *BasicMessage) MessageFrom() string { return m.of().from }

// Data implements Message. The result must not be changed.
func (m *BasicMessage) Data() []byte { return m.data }

// Hash returns the SHA3-256 in hex over the length of the type in eight bytes
// big endian, the type, and the data. It is computed by the first call and kept;
// first calls at the same moment may each compute it.
func (m *BasicMessage) Hash() string {
	if h := m.hash.Load(); h != nil {
		return *h
	}
	h := HashOf(m.of().msgType, m.data)
	m.hash.Store(&h)
	return h
}

// HashOf is what Hash returns for a BasicMessage of that type and payload.
func HashOf(msgType string, data []byte) string {
	h := sha3.New256()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(msgType)))
	h.Write(n[:])
	h.Write([]byte(msgType))
	h.Write(data)
	var sum [32]byte
	return hex.EncodeToString(h.Sum(sum[:0]))
}

const (
	slabMessages = 16      // messages that share one allocation
	slabMaxData  = 4 << 10 // bytes of payload above which a message gets its own
)

// AppendMessages appends one message of msgType from the given peer for every
// payload to dst and returns the extended slice. Like NewMessage it keeps the
// payloads without copying them, but not the outer slice.
//
// It makes 16 messages with one allocation. A message that is kept therefore
// keeps up to 15 others of the same call, with payloads of at most 4 KiB each;
// a larger payload gets a message of its own.
func AppendMessages(dst []Message, msgType, from string, payloads [][]byte) []Message {
	if len(payloads) == 0 {
		return dst
	}
	var slab []BasicMessage
	of := &head{msgType, from}
	for i, data := range payloads {
		if len(data) > slabMaxData {
			dst = append(dst, NewMessage(msgType, from, data))
			continue
		}
		if len(slab) == 0 {
			slab = make([]BasicMessage, min(slabMessages, len(payloads)-i))
		}
		m := &slab[0]
		slab = slab[1:]
		m.head, m.data = of, data
		dst = append(dst, m)
	}
	return dst
}

// MaxTypeLen is the most bytes of a message type's name.
const MaxTypeLen = msgtype.MaxName

// ValidType returns nil if name may name a message type: 1 to MaxTypeLen bytes
// of [A-Za-z0-9._-]. Otherwise the error matches ErrInvalidType.
func ValidType(name string) error {
	if err := msgtype.CheckName(name); err != nil {
		return fmt.Errorf("%w: %.80q %w", ErrInvalidType, name, err)
	}
	return nil
}
