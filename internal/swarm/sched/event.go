package sched

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm/wire"
)

// Kind says what an Event is, and which of its fields count.
type Kind uint8

// The events.
const (
	// Wake comes at the time that State.Wake names.
	Wake Kind = iota
	// Takes: Peer can be spoken with, and takes messages of the types in Takes, up to
	// the size given there. Down: it cannot any more, and all that was said is void.
	Takes
	Down
	// TakesOf: Peer, of which there was a Takes, takes messages of Type up to Most bytes
	// from now on; 0: none.
	TakesOf
	// Path: RTT is the round trip to Peer while nothing else is on its way.
	Path
	// Declare: this node takes part in a type as Spec says. Retract: no more in Type.
	Declare
	Retract
	// Publish: a message that this node may show, its own or one that came another
	// way: Manifest, ID, Digest, Data.
	Publish
	// Received: Peer said Frame. Of an announcement ID and Digest count too, and that it
	// is of a peer which is not heeded in the type, if Unheeded; of a chunk Frame.Data is
	// the whole chunk, Sum its hash; Data is kept.
	Received
	// Heard: a part of a chunk came from Peer. Frame tells which, if it was asked for.
	Heard
	// Pull: what was handed out for Peer is on its way, and there is space for more.
	Pull
	// Checked: Verdict on the header of the message ID. Validated: on its whole.
	Checked
	Validated
	// Joined: Data holds the bytes of the message ID in one piece.
	Joined
	// Resume: what was deferred under Key is validated again.
	Resume
)

// Event is something that happened.
type Event struct {
	Kind     Kind
	Peer     peer.ID
	Takes    map[string]int
	Most     int
	RTT      time.Duration
	Type     string
	Spec     *Spec
	Frame    *wire.Frame
	Manifest *wire.Manifest
	ID       wire.Sum
	Digest   wire.Sum
	Sum      wire.Sum
	Data     []byte
	Verdict  Verdict
	Key      string
	Unheeded bool
}

// Spec is how this node takes part in a type.
type Spec struct {
	Type    string
	MaxSize int // bytes of a message
	Joined  bool
	// Headers says that headers are checked, and that a message may be shown once its
	// header is accepted.
	Headers bool
	// HeaderWait is how long a header may be deferred.
	HeaderWait time.Duration
}

// Verdict is what was found about a header or a message.
type Verdict uint8

// The verdicts. Of a header count the first four.
const (
	Ignore Verdict = iota
	Accept
	Reject
	Defer
	// AwaitRelay: the application has the message, and says itself when to pass it on.
	AwaitRelay
	// Later: there was no space for the message; it is offered again.
	Later
	// Known: the message is here already, under another name or by another way.
	Known
)

// EffectKind says what an Effect is.
type EffectKind uint8

// The effects.
const (
	// Say: Frame is to be said to Peer, before all chunks.
	Say EffectKind = iota
	// Ready: there is a chunk for Peer: Pull gives it. Give: Frame is that chunk, to be
	// sent in pieces.
	Ready
	Give
	// Check has the header of Msg validated, Validate the whole of it; Peer is one that brought
	// it. Checked and Validated follow.
	Check
	Validate
	// Blame: Peer did Fault, with Msg where it is about one. Ban: it did what nobody honest does.
	Blame
	Ban
	// Invalid: the author of Msg is at fault: its header was accepted, and the message
	// was not.
	Invalid
	// Refused: the message of this Publish was not taken, for want of space.
	Refused
	// Ended: Msg is forgotten.
	Ended
)

// Effect is something to be done.
type Effect struct {
	Kind  EffectKind
	Peer  peer.ID
	Frame *wire.Frame
	Msg   *Message
	Fault Fault
}

// Fault is what a peer did wrong.
type Fault uint8

// The faults.
const (
	FaultAnnounce Fault = iota // announces too much
	FaultRefused               // announced a message whose header was rejected
	FaultJunk                  // sends chunks that nobody asked for
	FaultChunk                 // sent bytes that are not those of the manifest
	FaultFrame                 // speaks of what cannot be
)

func (f Fault) String() string {
	return [...]string{"announcements", "header", "junk", "chunk", "frame"}[f]
}
