package session

import (
	"encoding/binary"
	"fmt"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// Kind says what an offer is for.
type Kind uint8

// The kinds. Offers of other kinds, which later versions may have, are skipped.
const (
	kindWithdrawn Kind = iota // the offer of that number no longer stands
	KindMessage               // a message type
	KindMethod                // a method of requests
	KindLarge                 // broadcasts of a message type that are large, see internal/swarm
)

// Properties are what an offer says beside its size. Bits that are not known
// are ignored.
type Properties uint32

const (
	// Taken: the node takes it from its peers now. An offer without it says only
	// how the node has declared a type that it sends.
	Taken Properties = 1 << iota
	// Broadcast: messages of the type are broadcast.
	Broadcast
	// Timed: broadcasts of the type carry the time of their publication.
	Timed
	// The bits from here on belong to methods.
	FirstOfMethods Properties = 1 << 8
)

// Offer is what a node tells its peers of one message type or method.
type Offer struct {
	Kind       Kind
	Name       string // of a message type or method, see msgtype.CheckName
	MaxSize    int    // the most bytes of a payload
	Properties Properties
	// Rules is the version of those by which the node judges messages of the type
	// before it passes them on, at most 2^31-1; 0: it does not judge them.
	Rules uint32
}

// Bounds of what one side offers. What an offer counts is the length of its
// entry on the wire.
const (
	MaxOffers     = 4096
	MaxOfferBytes = 256 << 10
)

// offerOf is what peers are told of a message type.
func offerOf(spec *msgtype.Spec, receive bool) Offer {
	o := Offer{Kind: KindMessage, Name: spec.Name, MaxSize: spec.MaxSize, Rules: spec.Broadcast.Rules}
	if receive {
		o.Properties |= Taken
	}
	if !spec.NoBroadcast {
		o.Properties |= Broadcast
	}
	if spec.Broadcast.Timed {
		o.Properties |= Timed
	}
	return o
}

// differs tells whether two nodes have declared the same thing differently. Who judges
// by other rules is none that differs: where rules change, that is the case for a while.
func (o Offer) differs(p Offer) bool {
	return o.MaxSize != p.MaxSize || (o.Properties^p.Properties)&^Taken != 0
}

// String is for logs.
func (o Offer) String() string {
	s := fmt.Sprintf("at most %d bytes", o.MaxSize)
	if o.Kind == KindMessage {
		if o.Properties&Broadcast == 0 {
			s += ", not broadcast"
		}
		if o.Properties&Timed != 0 {
			s += ", timed"
		}
	}
	return s
}

// entry is one entry of an offers frame: an offer under its number, or that the
// number is withdrawn.
type entry struct {
	number uint32
	offer  Offer // of kindWithdrawn: withdrawn
}

// maxNumber is the highest number of an offer.
const maxNumber = 1<<31 - 1

// appendEntry encodes an entry (SPEC.md):
//
//	uvarint  length of the rest
//	uvarint  number
//	byte     kind; what follows is not there when it is 0
//	uvarint  length of the name, and the name
//	uvarint  maximum size
//	uvarint  properties
//	uvarint  rules, of a message type or its large broadcasts; may be missing for 0
func appendEntry(dst []byte, e entry) []byte {
	body := uvarintLen(int(e.number)) + 1
	o := e.offer
	if o.Kind != kindWithdrawn {
		body += uvarintLen(len(o.Name)) + len(o.Name) + uvarintLen(o.MaxSize) + uvarintLen(int(o.Properties))
		if o.Rules > 0 {
			body += uvarintLen(int(o.Rules))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(body))
	dst = binary.AppendUvarint(dst, uint64(e.number))
	dst = append(dst, byte(o.Kind))
	if o.Kind == kindWithdrawn {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Name)))
	dst = append(dst, o.Name...)
	dst = binary.AppendUvarint(dst, uint64(o.MaxSize))
	dst = binary.AppendUvarint(dst, uint64(o.Properties))
	if o.Rules > 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Rules))
	}
	return dst
}

// parseEntry decodes the entry at the front of b and tells how many bytes it
// has. Of kinds that are not known it gives the number and the kind alone.
func parseEntry(b []byte) (e entry, n int, fault Fault) {
	size, head, fault := parseLength(b, len(b))
	if fault != FaultNone || head == 0 || len(b)-head < size {
		return entry{}, 0, FaultControl
	}
	n, b = head+size, b[head:head+size]
	number, ok := cut(&b, maxNumber)
	if !ok || number == 0 || len(b) == 0 {
		return entry{}, 0, FaultControl
	}
	e.number, e.offer.Kind = uint32(number), Kind(b[0])
	b = b[1:]
	switch e.offer.Kind {
	case KindMessage, KindMethod, KindLarge:
	default:
		return e, n, FaultNone
	}
	length, ok := cut(&b, msgtype.MaxName)
	if !ok || len(b) < length || msgtype.CheckName(string(b[:length])) != nil {
		return entry{}, 0, FaultControl
	}
	e.offer.Name, b = string(b[:length]), b[length:]
	e.offer.MaxSize, ok = cut(&b, msgtype.MaxSize)
	if !ok || e.offer.MaxSize == 0 {
		return entry{}, 0, FaultControl
	}
	properties, ok := cut(&b, maxNumber)
	if !ok {
		return entry{}, 0, FaultControl
	}
	e.offer.Properties = Properties(properties)
	if len(b) > 0 && e.offer.Kind != KindMethod {
		rules, ok := cut(&b, maxNumber)
		if !ok {
			return entry{}, 0, FaultControl
		}
		e.offer.Rules = uint32(rules)
	}
	return e, n, FaultNone
}

// cut takes a uvarint from the front of b.
func cut(b *[]byte, limit int) (v int, ok bool) {
	v, n, fault := parseLength(*b, limit)
	if n == 0 || fault != FaultNone {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}
