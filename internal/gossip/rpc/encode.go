package rpc

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// signPrefix begins what the author of a message signs.
const signPrefix = "libp2p-pubsub:"

// AppendMessage appends the encoding of a message's fields, those that are nil left
// out, without tag and length.
func AppendMessage(b []byte, m *Message) []byte {
	b = appendUnsigned(b, m)
	b = appendOptional(b, msgSignature, m.Signature)
	return appendOptional(b, msgKey, m.Key)
}

func appendUnsigned(b []byte, m *Message) []byte {
	b = appendOptional(b, msgFrom, m.From)
	b = appendOptional(b, msgData, m.Data)
	b = appendOptional(b, msgSeqno, m.Seqno)
	return appendOptional(b, msgTopic, m.Topic)
}

// AppendSigned appends what the author of a message signs.
func AppendSigned(b []byte, m *Message) []byte {
	return appendUnsigned(append(b, signPrefix...), m)
}

func appendOptional(b []byte, num protowire.Number, v []byte) []byte {
	if v == nil {
		return b
	}
	return appendBytes(b, num, v)
}

func appendBytes[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	b = protowire.AppendTag(b, num, wireBytes)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

func sizeBytes(n int) int { return 1 + protowire.SizeBytes(n) }

func messageSize(m *Message) (n int) {
	for _, v := range [...][]byte{m.From, m.Data, m.Seqno, m.Topic, m.Signature, m.Key} {
		if v != nil {
			n += sizeBytes(len(v))
		}
	}
	return n
}

// Encode makes a frame that holds one message, and returns the message as it is
// read from that frame: its fields point into the frame, which may be sent to any
// number of peers. What a Message has of unknown fields is left out.
func Encode(m *Message) (frame []byte, own Message) {
	size := len(m.Body)
	if !m.Canonical {
		size = messageSize(m)
	}
	frame = make([]byte, 0, binary.MaxVarintLen32+sizeBytes(size))
	frame = binary.AppendUvarint(frame, uint64(sizeBytes(size)))
	frame = protowire.AppendTag(frame, rpcPublish, wireBytes)
	frame = protowire.AppendVarint(frame, uint64(size))
	at := len(frame)
	if m.Canonical {
		frame = append(frame, m.Body...)
	} else {
		frame = AppendMessage(frame, m)
	}
	own = *m
	own.Unknown, own.Canonical, own.Body = false, true, frame[at:]
	// The fields follow each other in the order of their numbers.
	for n := protowire.Number(msgFrom); n <= msgKey; n++ {
		if v := own.field(n); *v != nil {
			at += sizeBytes(len(*v)) - len(*v)
			end := at + len(*v)
			*v = frame[at:end:end]
			at = end
		}
	}
	return frame, own
}

// Control is what one frame or several say beside messages.
type Control struct {
	Subs     []Announce
	Have     []HaveIDs
	Want     []string
	Graft    []string
	Prune    []PruneOut
	DontWant []string
}

// Announce is a Sub to be sent.
type Announce struct {
	Topic     string
	Subscribe bool
}

// HaveIDs is a Have to be sent.
type HaveIDs struct {
	Topic string
	IDs   []string
}

// PruneOut is a Prune to be sent.
type PruneOut struct {
	Topic   string
	Backoff uint64 // seconds; 0 leaves it out
	Peers   []PeerOut
}

// PeerOut is a Peer to be sent.
type PeerOut struct {
	ID     string
	Record []byte
}

// Empty reports whether there is nothing to say.
func (c *Control) Empty() bool {
	return len(c.Subs)+len(c.Have)+len(c.Want)+len(c.Graft)+len(c.Prune)+len(c.DontWant) == 0
}

// Merge adds what another one says.
func (c *Control) Merge(o *Control) {
	c.Subs = append(c.Subs, o.Subs...)
	c.Have = append(c.Have, o.Have...)
	c.Want = append(c.Want, o.Want...)
	c.Graft = append(c.Graft, o.Graft...)
	c.Prune = append(c.Prune, o.Prune...)
	c.DontWant = append(c.DontWant, o.DontWant...)
}

const (
	// frameMost is where a control frame is cut. Implementations take 512 KiB of
	// control in a frame by default.
	frameMost = 128 << 10
	// refuseMost is how many refusals go into one frame: go-libp2p-pubsub reads no
	// more.
	refuseMost = 10
	// idsMost is how many IDs one part holds, and frameIDs how many a frame:
	// js-libp2p reads no more.
	idsMost  = 1000
	frameIDs = 5000
	// partsMost is how many parts of one kind a frame holds.
	partsMost = 500
)

// AppendControl appends c as frames, each with its length before it. There is one
// frame, but for lists so long that a receiver would not read them in full.
func AppendControl(b []byte, c *Control) []byte {
	w := frames{out: b}
	for _, s := range c.Subs {
		part := appendVarint(w.scratch[:0], subSubscribe, flag(s.Subscribe))
		w.scratch = appendBytes(part, subTopic, s.Topic)
		w.sub(w.scratch)
	}
	// Grafts and prunes first: what follows may depend on who is in the mesh.
	for _, topic := range c.Graft {
		w.part(ctlGraft, appendBytes(w.scratch[:0], graftTopic, topic))
	}
	for _, p := range c.Prune {
		w.part(ctlPrune, appendPrune(w.scratch[:0], p))
	}
	for _, h := range c.Have {
		w.ids(ctlHave, appendBytes(nil, haveTopic, h.Topic), haveIDs, h.IDs, idsMost)
	}
	w.ids(ctlWant, nil, wantIDs, c.Want, idsMost)
	for ids := c.DontWant; len(ids) > 0; {
		n := min(len(ids), refuseMost)
		w.ids(ctlDontWant, nil, dontWantIDs, ids[:n], refuseMost)
		if ids = ids[n:]; len(ids) > 0 {
			w.flush()
		}
	}
	w.flush()
	return w.out
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, wireVarint), v)
}

func appendPrune(b []byte, p PruneOut) []byte {
	b = appendBytes(b, pruneTopic, p.Topic)
	for _, q := range p.Peers {
		info := appendBytes(nil, peerID, q.ID)
		info = appendOptional(info, peerRecord, q.Record)
		b = appendBytes(b, prunePeers, info)
	}
	if p.Backoff > 0 {
		b = appendVarint(b, pruneBackoff, p.Backoff)
	}
	return b
}

// frames cuts a control message into frames.
type frames struct {
	out     []byte
	subs    []byte // encoded, of the frame that is being made
	control []byte
	parts   int
	listed  int // IDs
	scratch []byte
}

func (w *frames) sub(b []byte) {
	w.fit(len(b))
	w.subs = appendBytes(w.subs, rpcSubs, b)
	w.parts++
}

func (w *frames) part(num protowire.Number, b []byte) {
	w.scratch = b[:0]
	w.fit(len(b))
	w.control = appendBytes(w.control, num, b)
	w.parts++
}

// ids adds lists of IDs, each with the same beginning.
func (w *frames) ids(num protowire.Number, head []byte, field protowire.Number, ids []string, most int) {
	for len(ids) > 0 {
		b := append(w.scratch[:0], head...)
		n := 0
		for n < len(ids) && n < most && (n == 0 || len(b)+sizeBytes(len(ids[n])) <= frameMost/2) {
			b = appendBytes(b, field, ids[n])
			n++
		}
		ids = ids[n:]
		if w.listed+n > frameIDs {
			w.flush()
		}
		w.part(num, b)
		w.listed += n
	}
}

// fit ends the frame if a part of that size has no place in it.
func (w *frames) fit(n int) {
	if w.parts >= partsMost || w.parts > 0 && len(w.subs)+len(w.control)+n+2*binary.MaxVarintLen32 > frameMost {
		w.flush()
	}
}

func (w *frames) flush() {
	size := len(w.subs)
	if len(w.control) > 0 {
		size += sizeBytes(len(w.control))
	}
	if size == 0 {
		return
	}
	w.out = binary.AppendUvarint(w.out, uint64(size))
	w.out = append(w.out, w.subs...)
	if len(w.control) > 0 {
		w.out = appendBytes(w.out, rpcControl, w.control)
	}
	w.subs, w.control, w.parts, w.listed = w.subs[:0], w.control[:0], 0, 0
}
