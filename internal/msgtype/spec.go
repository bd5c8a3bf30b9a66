package msgtype

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/setting"
)

// Defaults and bounds of a Spec.
const (
	DefaultMaxSize       = 1 << 20
	DefaultCompressAbove = 1 << 10
	DefaultQueueBytes    = 4 << 20
	DefaultDeadline      = 10 * time.Second
	DefaultConcurrency   = 64
	DefaultParkTime      = time.Minute
	DefaultPeerWait      = 10 * time.Second
	// OpenPeerWait is the default of PeerWait for open types, whose first peer
	// may be one without a handshake, and takes part later.
	OpenPeerWait = 20 * time.Second

	// MaxSize is the most that Spec.MaxSize may allow.
	MaxSize = 1 << 30
	// MaxTopic is the most bytes of Broadcast.Topic.
	MaxTopic = 512

	// BroadcastOverhead is the most that the encoding of a broadcast adds to its
	// payload: topic, author, sequence number, signature, key and time.
	BroadcastOverhead = 1 << 10

	// frameOverhead is the most that a frame adds to a payload on a stream.
	frameOverhead = 16
)

// Spec declares a message type. Only Name is required. It is comparable.
type Spec struct {
	// Name is the type on the wire, see CheckName.
	Name string
	// MaxSize is the most bytes of a payload, sent or received, before
	// compression. Default 1 MiB, at most 1 GiB.
	MaxSize int
	// Priority is that of messages which do not say otherwise. Default normal.
	Priority Priority
	// Compression is how payloads above CompressAbove bytes are compressed where
	// that makes them smaller. Default s2.
	Compression Compression
	// CompressAbove is a number of bytes. Default 1 KiB.
	CompressAbove int
	// QueueBytes bounds what waits of this type for one peer, frames included. An
	// empty queue takes any single message. Default 4 MiB, or one message of
	// MaxSize where that is more.
	QueueBytes int
	// NoBroadcast keeps the type out of broadcast.
	NoBroadcast bool
	// Broadcast says how messages of the type are broadcast.
	Broadcast Broadcast
}

// Broadcast is what a Spec says about broadcast.
type Broadcast struct {
	// Topic is the topic's name, at most 512 bytes. Default /<network ID>/<type>,
	// which is left empty here.
	Topic string
	// MaxSize is the most bytes of a broadcast. Default 1 MiB, or Spec.MaxSize where
	// that is less.
	MaxSize int
	// MaxPublish is the most bytes of this node's own broadcasts. Default MaxSize.
	MaxPublish int
	// Open lets nodes without a handshake take part.
	Open bool
	// ExplicitRelay passes messages on only when the program says so.
	ExplicitRelay bool
	// Timed adds the time of publication to each message, 16 bytes.
	Timed bool
	// Deadline bounds the validation of one message. Default 10 s.
	Deadline time.Duration
	// Concurrency is how many messages are validated at once. Default 64.
	Concurrency int
	// ParkTime is how long a deferred message is kept. Default 1 min.
	ParkTime time.Duration
	// PeerWait is how long an own message waits for the first peer that takes
	// part; negative: not at all. Default 10 s, or 20 s for open types.
	PeerWait time.Duration
	// Rules is the version of the rules by which this node judges messages of the type
	// before it passes them on; 0: it passes on what it has not judged.
	Rules uint32
	// Score says what the type counts in the scores of peers.
	Score Score
}

// Score weighs one type in a peer's score.
type Score struct {
	// Weight of the type, >= 0; 0 stands for 1. Negative switches the type's part
	// of the score off.
	Weight float64
	// PerSecond is how many messages a second every mesh peer is expected to
	// bring in normal times. 0, the default, expects nothing. A mesh peer that
	// brings less than a quarter of it for a minute loses score, which finds
	// those that keep messages back; do not set it for types that may be quiet.
	PerSecond float64
}

// WithDefaults is the spec with everything filled in that was left zero. What is
// wrong stays as it is, for Validate to find.
func (s Spec) WithDefaults() Spec {
	setting.Default(&s.MaxSize, DefaultMaxSize)
	setting.Default(&s.Priority, PriorityNormal)
	setting.Default(&s.CompressAbove, DefaultCompressAbove)
	if s.QueueBytes == 0 {
		s.QueueBytes = DefaultQueueBytes
	}
	if s.QueueBytes > 0 {
		s.QueueBytes = max(s.QueueBytes, s.MaxSize+frameOverhead)
	}
	if s.NoBroadcast {
		return s // its Broadcast has to be empty
	}
	b := &s.Broadcast
	setting.Default(&b.MaxSize, min(s.MaxSize, DefaultMaxSize))
	setting.Default(&b.MaxPublish, b.MaxSize)
	setting.Default(&b.Deadline, DefaultDeadline)
	setting.Default(&b.Concurrency, DefaultConcurrency)
	setting.Default(&b.ParkTime, DefaultParkTime)
	if b.Open {
		setting.Default(&b.PeerWait, OpenPeerWait)
	}
	setting.Default(&b.PeerWait, DefaultPeerWait)
	return s
}
