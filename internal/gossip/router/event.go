package router

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip/rpc"
)

// Kind says what an Event is, and which of its fields count.
type Kind uint8

// The events.
const (
	// Tick is the heartbeat. Wake comes at the time that Router.Wake names.
	Tick Kind = iota
	Wake
	// Opened: there is a stream to Peer, of Level, dialled by this node if On.
	// Closed: there is none any more.
	Opened
	Closed
	// Heard: there is a stream from Peer. Silent: there is none any more.
	Heard
	Silent
	// Member: Peer is a member if On, else one that takes part in open topics.
	// Bound: Peer takes no more than Most bytes of data in Topic; 0 for as many as
	// this node does. Unvalidated: Peer passes messages of Topic on that it has not validated
	// by the rules of this node, if On.
	Member
	Bound
	Unvalidated
	// Direct: Peer is a direct peer, or not.
	Direct
	// Addrs: Peer has the addresses Names. AppScore: the application's score of
	// Peer is Value. Fault: Peer sent what nobody honest sends.
	Addrs
	AppScore
	Fault
	// Control: a frame of Peer, of which the messages are not looked at.
	Control
	// Received: Msg came from Msg.From. Copy: a message ID came again from Peer.
	// Forged: Peer sent a message in Topic that breaks the rule of signatures, or
	// whose data is none: it has no ID. Invalid: a message of Topic that Peer passed on
	// another way was rejected.
	Received
	Copy
	Forged
	Invalid
	// Validated: Verdict on Msg, which a Validate effect had asked for.
	Validated
	// Publish: Msg is this node's own. Relay: Msg was accepted in a topic with
	// ExplicitRelay and is to go on. Withdraw: Msg was handed to nobody.
	Publish
	Relay
	Withdraw
	// Dropped: Peer's queue did not take Msg, or lost it.
	Dropped
	// Full: Peer's queue is above its mark if On, else well below it again. Loaded:
	// Load was written to Peer since the last time.
	Full
	Loaded
	// Declare: Spec is known from now on, or has changed. Retract: Topic is
	// forgotten. Join and Leave: this node takes part in Topic, or no more.
	Declare
	Retract
	Join
	Leave
	// Resume: messages deferred under Key are validated again.
	Resume
	// Stop gives up what is deferred, and what waits for a first peer.
	Stop
)

// Event is something that happened. Step keeps none of its slices.
type Event struct {
	Kind    Kind
	Peer    peer.ID
	Level   Level
	On      bool
	Value   float64
	Most    int
	Topic   string
	Key     string
	ID      []byte
	Names   []string
	Msg     *Message
	RPC     *rpc.RPC
	Verdict Verdict
	Spec    *TopicSpec
	Load    Load
}

// Level is what the protocol of a stream can do.
type Level uint8

// The levels. Each can do what those before it can.
const (
	FloodSub Level = iota
	Mesh           // meshsub 1.0
	Exchange       // 1.1: back-off and peers in prunes
	Refuse         // 1.2: IDONTWANT
	Extend         // 1.3: extensions, of which there are none
)

// EffectKind says what an Effect is.
type EffectKind uint8

// The effects.
const (
	// Send sends Msg to Peer. Say sends Control to Peer, before all messages that
	// wait.
	Send EffectKind = iota
	Say
	// Cancel: Peer has Msg, or wants no copy. It need not be sent if it waits.
	Cancel
	// Validate has Msg validated, which may wait. ValidateNow has it validated at once. Validated follows.
	Validate
	ValidateNow
	// Refused: the message of this Publish was not taken, for Reason. Queued: it
	// waits for a first peer.
	Refused
	Queued
	// Spread: Msg, which another protocol carries, may go on. Ended: it may not; Verdict
	// tells why, with Accept that it may when Relay comes.
	Spread
	Ended
	// Connect: Peer recommends Peers.
	Connect
	// Faulted: Peer did what nobody honest does, Reason says what. It is counted
	// already.
	Faulted
	// Slow: Peer is full, and has delayed others for so long that nobody waits for it
	// any more.
	Slow
	// Eased: who waits because of Router.Pressed is to look again.
	Eased
)

// Effect is something to be done. Peer is empty where nobody is named.
type Effect struct {
	Kind    EffectKind
	Peer    peer.ID
	Msg     *Message
	Control *rpc.Control
	Peers   []rpc.PeerOut
	Reason  string
	Verdict Verdict
}

// Reasons of Refused.
const (
	ReasonDuplicate = "duplicate"
	ReasonNoPeers   = "no peers"
	ReasonFull      = "full"
	ReasonTooLarge  = "too large" // for the peers there are
	ReasonUnknown   = "unknown topic"
)

// Faults that the router itself finds.
const (
	FaultSubscriptions = "subscriptions"
	FaultControl       = "control"
	FaultHave          = "have"
	FaultWant          = "want"
)

// Action is what is to become of a message.
type Action uint8

// The actions.
const (
	Ignore Action = iota
	Accept
	Reject
	Defer     // until Verdict.Key is resumed
	TurnAway  // for Verdict.Reason; a further copy is taken
	Wait      // there was no space: it is to be validated in a slot, and may wait there
	BadSigned // the signature is not that of the author
)

// Verdict is what was found about a message.
type Verdict struct {
	Action Action
	Key    string
	Reason string
}

// Message is a message of a topic, whole and encoded.
type Message struct {
	ID    string
	Topic string
	From  peer.ID // who sent it to this node; empty for an own one
	// Author is who signed it; empty in networks without signatures.
	Author peer.ID
	// Frame is the frame that carries it, shared by all that it is sent to. Data
	// and Wire point into it. Wire is there while the signature is to be verified.
	Frame []byte
	Data  []byte
	Wire  *rpc.Message

	// Carried: another protocol carries the message to most peers. It is not announced,
	// and nobody is asked for it. Blameless: those who sent it could not know whether it
	// is valid. Ref is the carrier's.
	Carried, Blameless bool
	Ref                any

	entry   *entry // while it is validated
	relayed bool
}
