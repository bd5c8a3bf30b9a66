package router

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Config is what does not change. There are no defaults: the caller has them.
type Config struct {
	Self  peer.ID
	Mesh  MeshParams
	Score ScoreParams

	// SeenTTL is how long an entry is kept after its first sight, MaxSeen how many
	// there are: beyond, the oldest is forgotten earlier.
	SeenTTL time.Duration
	MaxSeen int
	// HistoryBytes bounds the messages that are kept to be served, in bytes.
	HistoryBytes int

	// Pending and PendingBytes bound own messages that wait for a first peer, for
	// each topic.
	Pending, PendingBytes int

	// Parked and ParkedBytes bound deferred messages, ParkedPerPeer and
	// ParkedPerKey those of one sender and of one key. Whoever has most gives way.
	Parked, ParkedBytes, ParkedPerPeer, ParkedPerKey int

	// Exchange has this node recommend peers to those it prunes.
	Exchange bool
}

// MeshParams are GossipSub's parameters, by the names of its specification.
type MeshParams struct {
	D, Dlo, Dhi, Dscore, Dout, Dlazy int
	GossipFactor                     float64
	Heartbeat                        time.Duration
	HistoryLength, HistoryGossip     int
	FloodPublish                     bool
	DontWantAbove                    int // bytes
	PruneBackoff, MaxBackoff         time.Duration
	UnsubscribeBackoff               time.Duration
	FanoutTTL                        time.Duration
	Retransmission                   int // times that one message is served to one peer
	OpportunisticTicks               int
	OpportunisticPeers               int
}

// ScoreParams weigh what peers do.
type ScoreParams struct {
	GossipThreshold, PublishThreshold, GraylistThreshold float64
	AcceptExchange                                       float64 // threshold for peers in a prune
	OpportunisticThreshold                               float64

	TopicCap                       float64
	ColocationWeight               float64
	ColocationFree                 int
	BehaviourWeight, BehaviourFree float64
	BehaviourDecay                 float64 // factor a second, as all decays
	FaultWeight                    float64 // for each fault
	FaultDecay                     float64
	Retain                         time.Duration
}

// TopicScore weighs what peers do in one topic.
type TopicScore struct {
	Weight                            float64
	MeshTimeWeight, MeshTimeCap       float64 // a second
	FirstWeight, FirstDecay, FirstCap float64
	DeliveryWeight, DeliveryDecay     float64
	DeliveryThreshold, DeliveryCap    float64
	DeliveryWindow, DeliveryGrace     time.Duration
	FailureWeight, FailureDecay       float64
	InvalidWeight, InvalidDecay       float64
}

// TopicSpec is a topic as it is declared. All of it may change while the topic
// stands, but for Name and Open.
type TopicSpec struct {
	Name string
	Open bool
	// Inline topics are validated by whoever brings the message, at once, and take a slot
	// only if there is no space for it.
	Inline bool
	// Concurrency is how many messages are validated at once, Queue how many may wait,
	// Deadline how long.
	Concurrency, Queue int
	Deadline           time.Duration
	ParkTime           time.Duration
	ExplicitRelay      bool
	// PeerWait is how long an own message waits for a first peer. Negative: not at
	// all.
	PeerWait time.Duration
	Score    TopicScore
}

// Bounds of what one peer may say in one heartbeat. Honest routers stay far below.
const (
	maxHaveFrames = 10     // frames with announcements; further ones are not read
	maxAsked      = 5000   // message IDs that are asked for
	maxHave       = 40_000 // message IDs announced: beyond is a fault
	maxWant       = 20_000 // message IDs asked for: beyond is a fault
	maxRefusals   = 1000   // frames with refusals
	maxRefused    = 10     // message IDs that count of one such frame
	refusedFor    = 3      // heartbeats
	maxHeard      = 64     // topics a peer takes part in that are not declared here
	maxControl    = 1000   // grafts, and prunes, in one frame

	// MaxSubs is how many subscriptions one frame may hold.
	MaxSubs = 5000
)
