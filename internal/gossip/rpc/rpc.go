package rpc

import "errors"

// RPC is one decoded frame. All byte slices point into the frame: whoever keeps
// one of them beyond the frame copies it.
type RPC struct {
	Subs     []Sub
	Publish  []Message
	Have     []Have
	Want     [][]byte // message IDs
	Graft    [][]byte // topics
	Prune    []Prune
	DontWant [][]byte // message IDs
	// Extensions tells that the frame announced extensions, whichever.
	Extensions bool

	ids [][]byte // of Have
}

// HasControl reports whether there is anything but messages and subscriptions.
func (r *RPC) HasControl() bool {
	return len(r.Have)+len(r.Want)+len(r.Graft)+len(r.Prune)+len(r.DontWant) > 0 || r.Extensions
}

// Sub says that the sender takes part in a topic, or does so no more.
type Sub struct {
	Topic     []byte
	Subscribe bool
}

// Message is one published message. A field that the frame did not have is nil; one
// that was there and empty is not.
type Message struct {
	From, Data, Seqno, Topic, Signature, Key []byte

	// Body is the encoding of the message as it came, without tag and length.
	Body []byte
	// Unknown tells that Body has fields that this package does not know.
	Unknown bool
	// Canonical tells that Body is what AppendMessage would write.
	Canonical bool
}

// Have announces messages of a topic.
type Have struct {
	Topic []byte
	IDs   [][]byte
}

// Prune takes the receiver out of the sender's mesh.
type Prune struct {
	Topic   []byte
	Backoff uint64 // seconds; 0 if there was none
	Peers   []Peer // at most MaxPrunePeers
}

// Peer is a peer that a Prune recommends.
type Peer struct {
	ID     []byte
	Record []byte // signed envelope; nil if there was none
}

// MaxPrunePeers is how many peers of one Prune are read; others are left out.
const MaxPrunePeers = 16

// Limits bound what one frame may hold.
type Limits struct {
	Subs     int // subscriptions
	Messages int // published messages
	IDs      int // message IDs, whatever they are listed for
	Parts    int // parts of a control message: announcements, requests, grafts, prunes, refusals
}

// DefaultLimits are above all that honest implementations put into one frame of
// one MiB.
func DefaultLimits() Limits {
	return Limits{Subs: 5000, Messages: 8192, IDs: 40_000, Parts: 2000}
}

// Errors of Decode.
var (
	// ErrMalformed means that a frame is no RPC.
	ErrMalformed = errors.New("malformed frame")
	// ErrTooMany means that a frame holds more parts than the limits allow.
	ErrTooMany = errors.New("too many parts in a frame")
)

// keepAtMost is how many places for parts of a kind an RPC keeps for the next
// frame. One frame with many must not hold their memory for ever.
const keepAtMost = 256

// Reset makes r ready for another frame.
func (r *RPC) Reset() {
	r.Subs = reuse(r.Subs)
	r.Publish = reuse(r.Publish)
	r.Have = reuse(r.Have)
	r.Want = reuse(r.Want)
	r.Graft = reuse(r.Graft)
	r.Prune = reuse(r.Prune)
	r.DontWant = reuse(r.DontWant)
	r.ids = reuse(r.ids)
	r.Extensions = false
}

func reuse[T any](s []T) []T {
	if cap(s) > keepAtMost {
		return nil
	}
	clear(s) // of pointers into the frame
	return s[:0]
}
