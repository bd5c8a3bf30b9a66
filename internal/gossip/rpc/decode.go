package rpc

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers, see SPEC.md.
const (
	rpcSubs, rpcPublish, rpcControl = 1, 2, 3

	subSubscribe, subTopic = 1, 2

	msgFrom, msgData, msgSeqno, msgTopic, msgSignature, msgKey = 1, 2, 3, 4, 5, 6

	ctlHave, ctlWant, ctlGraft, ctlPrune, ctlDontWant, ctlExtensions = 1, 2, 3, 4, 5, 6

	haveTopic, haveIDs                   = 1, 2
	wantIDs                              = 1
	graftTopic                           = 1
	pruneTopic, prunePeers, pruneBackoff = 1, 2, 3
	peerID, peerRecord                   = 1, 2
	dontWantIDs                          = 1
	wireVarint, wireBytes                = protowire.VarintType, protowire.BytesType
)

// Decode reads the body of a frame into r, which points into it afterwards. What r
// held before is gone, also after an error. Errors: ErrMalformed, ErrTooMany.
func (r *RPC) Decode(body []byte, l Limits) error {
	r.Reset()
	d := decoder{r: r, left: l}
	return fields(body, func(f field) error {
		switch {
		case f.is(rpcPublish, wireBytes):
			return d.message(f.bytes)
		case f.is(rpcControl, wireBytes):
			return d.control(f.bytes)
		case f.is(rpcSubs, wireBytes):
			return d.sub(f.bytes)
		}
		return nil
	})
}

// decoder counts down what is left of the limits.
type decoder struct {
	r    *RPC
	left Limits
}

func (d *decoder) sub(b []byte) error {
	if d.left.Subs--; d.left.Subs < 0 {
		return fmt.Errorf("%w: subscriptions", ErrTooMany)
	}
	var s Sub
	err := fields(b, func(f field) error {
		switch {
		case f.is(subSubscribe, wireVarint):
			s.Subscribe = f.varint != 0
		case f.is(subTopic, wireBytes):
			s.Topic = f.bytes
		}
		return nil
	})
	d.r.Subs = append(d.r.Subs, s)
	return err
}

func (d *decoder) message(b []byte) error {
	if d.left.Messages--; d.left.Messages < 0 {
		return fmt.Errorf("%w: messages", ErrTooMany)
	}
	m := Message{Body: b, Canonical: true}
	last := protowire.Number(0)
	err := fields(b, func(f field) error {
		if f.num <= last || !f.minimal {
			m.Canonical = false
		}
		last = f.num
		to := m.field(f.num)
		if to == nil || f.typ != wireBytes {
			m.Unknown, m.Canonical = true, false
			return nil
		}
		*to = f.bytes
		return nil
	})
	d.r.Publish = append(d.r.Publish, m)
	return err
}

func (m *Message) field(n protowire.Number) *[]byte {
	switch n {
	case msgFrom:
		return &m.From
	case msgData:
		return &m.Data
	case msgSeqno:
		return &m.Seqno
	case msgTopic:
		return &m.Topic
	case msgSignature:
		return &m.Signature
	case msgKey:
		return &m.Key
	}
	return nil
}

func (d *decoder) control(b []byte) error {
	return fields(b, func(f field) error {
		if f.typ != wireBytes {
			return nil
		}
		if f.num == ctlExtensions {
			d.r.Extensions = true
			return nil
		}
		if d.left.Parts--; d.left.Parts < 0 {
			return fmt.Errorf("%w: control", ErrTooMany)
		}
		switch f.num {
		case ctlHave:
			return d.have(f.bytes)
		case ctlWant:
			return d.idList(f.bytes, wantIDs, &d.r.Want)
		case ctlGraft:
			topic, err := lastBytes(f.bytes, graftTopic)
			d.r.Graft = append(d.r.Graft, topic)
			return err
		case ctlPrune:
			return d.prune(f.bytes)
		case ctlDontWant:
			return d.idList(f.bytes, dontWantIDs, &d.r.DontWant)
		}
		return nil
	})
}

func (d *decoder) have(b []byte) error {
	var h Have
	from := len(d.r.ids)
	err := fields(b, func(f field) error {
		switch {
		case f.is(haveTopic, wireBytes):
			h.Topic = f.bytes
		case f.is(haveIDs, wireBytes):
			return d.id(f.bytes, &d.r.ids)
		}
		return nil
	})
	h.IDs = d.r.ids[from:len(d.r.ids):len(d.r.ids)]
	d.r.Have = append(d.r.Have, h)
	return err
}

func (d *decoder) id(id []byte, to *[][]byte) error {
	if d.left.IDs--; d.left.IDs < 0 {
		return fmt.Errorf("%w: message IDs", ErrTooMany)
	}
	*to = append(*to, id)
	return nil
}

func (d *decoder) idList(b []byte, num protowire.Number, to *[][]byte) error {
	return fields(b, func(f field) error {
		if f.is(num, wireBytes) {
			return d.id(f.bytes, to)
		}
		return nil
	})
}

func (d *decoder) prune(b []byte) error {
	var p Prune
	err := fields(b, func(f field) (err error) {
		switch {
		case f.is(pruneTopic, wireBytes):
			p.Topic = f.bytes
		case f.is(pruneBackoff, wireVarint):
			p.Backoff = f.varint
		case f.is(prunePeers, wireBytes) && len(p.Peers) < MaxPrunePeers:
			var q Peer
			err = fields(f.bytes, func(f field) error {
				switch {
				case f.is(peerID, wireBytes):
					q.ID = f.bytes
				case f.is(peerRecord, wireBytes):
					q.Record = f.bytes
				}
				return nil
			})
			p.Peers = append(p.Peers, q)
		}
		return err
	})
	d.r.Prune = append(d.r.Prune, p)
	return err
}

// lastBytes finds a field that a message holds once; of several the last counts.
func lastBytes(b []byte, num protowire.Number) (v []byte, err error) {
	err = fields(b, func(f field) error {
		if f.is(num, wireBytes) {
			v = f.bytes
		}
		return nil
	})
	return v, err
}

// field is one field of a protobuf message.
type field struct {
	num     protowire.Number
	typ     protowire.Type
	minimal bool   // tag and length are encoded in as few bytes as can be
	varint  uint64 // of wireVarint
	bytes   []byte // of wireBytes
}

func (f field) is(num protowire.Number, typ protowire.Type) bool { return f.num == num && f.typ == typ }

// fields calls f for each field of b. What is neither varint nor bytes has no value.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		tag, n := uvarint(b)
		num, typ := protowire.DecodeTag(tag)
		if n <= 0 || num < protowire.MinValidNumber {
			return ErrMalformed
		}
		fd := field{num: num, typ: typ, minimal: n == 1}
		b = b[n:]
		switch typ {
		case wireBytes:
			size, n := uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return ErrMalformed
			}
			fd.minimal = fd.minimal && n == protowire.SizeVarint(size)
			end := n + int(size)
			fd.bytes = b[n:end:end]
			b = b[end:]
		case wireVarint:
			v, n := uvarint(b)
			if n <= 0 {
				return ErrMalformed
			}
			fd.varint = v
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return ErrMalformed
			}
			b = b[n:]
		}
		if err := f(fd); err != nil {
			return err
		}
	}
	return nil
}

// uvarint is binary.Uvarint with a short way for what has one byte.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}
