package netservice

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// Priority is the class of a message type on the streams between two peers.
// Classes share a connection by weight (high 16, normal 4, low 1): lower ones
// are slowed, never starved.
type Priority uint8

// The priorities. The zero value means PriorityNormal.
const (
	PriorityHigh   = Priority(msgtype.PriorityHigh)
	PriorityNormal = Priority(msgtype.PriorityNormal)
	PriorityLow    = Priority(msgtype.PriorityLow)
)

func (p Priority) String() string { return msgtype.Priority(p).String() }

// Compression is how frames above 1 KiB are compressed on the streams between
// two peers, where that makes them smaller. For CompressS2, samples of a message
// above 128 KiB decide whether it is tried at all. The zero value means
// CompressS2.
type Compression uint8

// The compressions. A receiver understands all of them.
const (
	CompressS2   = Compression(msgtype.CompressS2)
	CompressZstd = Compression(msgtype.CompressZstd)
	CompressNone = Compression(msgtype.CompressNone)
)

func (c Compression) String() string { return msgtype.Compression(c).String() }

// MessageSpec declares a message type. Only Name is required.
//
// Nodes tell each other how they have declared a type. Where two declarations
// differ, what both allow arrives; both nodes warn of it, and PeerInfo.Differing
// shows it.
type MessageSpec struct {
	// Name is the type on the wire: 1 to 64 letters, digits, dots, dashes and
	// underscores.
	Name string
	// MaxSize bounds a payload in bytes, sent and received, at most 1 GiB. What a
	// peer has declared to be its own maximum bounds what is sent to it as well.
	// Broadcasts are bounded by 1 MiB, unless the type sets MaxSize above that:
	// then by MaxSize, and by Config.MaxMessageSize or 8 MiB, whichever is more, and by
	// 64 MiB less 1 KiB. Those above 256 KiB go another way, chunk by chunk, each over
	// every line about once, see NebService.SetHeaders. In types with an open topic they
	// go with the rest, as others know nothing of chunks; and there what is above 1 MiB
	// less 1 KiB is broadcast only if MaxSize is set: go-libp2p-pubsub with its defaults
	// ends the stream on which it comes.
	// Default: Config.MaxMessageSize.
	MaxSize int
	// Priority is the default priority of its messages.
	// Default: PriorityNormal.
	Priority Priority
	// Compression of its frames. Default: CompressS2.
	Compression Compression
	// QueueBytes bounds what waits of this type for one peer. Default: 4 MiB,
	// or one message of MaxSize where that is more.
	QueueBytes int
	// NoBroadcast keeps the type out of gossip: it is sent to chosen peers only,
	// and Broadcast and Relay return ErrNoBroadcast. A node all of whose types are
	// declared so takes no part in gossip, which saves it some 9 KiB and three
	// goroutines for each peer (BenchmarkIdlePeers). All nodes should declare it
	// alike.
	NoBroadcast bool
	// NoDirect keeps peers from sending the type to this node directly: it comes by
	// broadcast only, and a direct send fails with ErrUnsupported. Without it, what
	// is sent directly is judged by the type's validator, as a broadcast is, but is
	// not signed and has no Author, also in networks with Config.SignMessages.
	NoDirect bool
	// Gossip is about Broadcast and Relay. The zero value is fine.
	Gossip GossipSpec
}

// GossipSpec says how messages of a type are broadcast.
type GossipSpec struct {
	// Topic is the GossipSub topic, at most 512 bytes. Another name than the
	// default joins a network of others. Default: /<network ID>/<type>.
	Topic string
	// Open lets nodes without a handshake take part, such as those of another
	// implementation or another chain. Connections to such nodes are then kept.
	// They take part ten seconds after they connected: until then they might
	// still turn out to be peers.
	Open bool
	// ExplicitRelay delivers messages at once and passes them on only when
	// Relay is called, so that the application can validate at leisure.
	ExplicitRelay bool
	// Timed adds the time of publication, 16 bytes, to each message, to measure
	// the time to delivery, see GossipTypeStats.Delay. Where Topic is set, all that
	// take part must declare it alike.
	Timed bool
	// Deadline bounds the validation of one message. Default: 10 s.
	Deadline time.Duration
	// Concurrency is how many messages are validated at once. Default: 64.
	Concurrency int
	// ParkTime is how long a deferred message waits for Resume. Default: 1 min.
	ParkTime time.Duration
	// PeerWait is how long a broadcast waits for the first peer that takes
	// part; then it is dropped, and counted as unsent. Default: 10 s, or 20 s for
	// open topics. Negative: Broadcast returns ErrNoPeers instead.
	PeerWait time.Duration
	// Rules is the version of the rules by which the type's validator, and the Check of
	// its Headers, judge; at most 2^31-1. Raise it with every version of the program that
	// rejects what the one before accepted, or the other way round. Peers hear of it. One
	// that judges by other rules, or not at all, is not banned for what it passes on:
	// see Reject. Default: 1.
	Rules uint32
	// Score says what the type counts in the scores of peers.
	Score TopicScore
}

// TopicScore says what a type counts in the scores of peers.
type TopicScore struct {
	// Weight of the type, >= 0; 0 stands for 1. Negative switches the type's part
	// of the score off.
	Weight float64
	// PerSecond is how many messages a second every mesh peer is expected to
	// bring in normal times. 0, the default, expects nothing. A mesh peer that
	// brings less than a quarter of it for a minute loses score, which finds
	// those that keep messages back; do not set it for types that may be quiet.
	PerSecond float64
}

// internal is the declaration as the engines take it, with its defaults.
func (m MessageSpec) internal(maxSize int) msgtype.Spec {
	g := m.Gossip
	var most, mostOwn int // of broadcasts; 0 stands for the default
	switch sized := m.MaxSize != 0; {
	case m.NoBroadcast:
	case sized && !g.Open:
		most = min(m.MaxSize, maxLarge(maxSize))
	case !sized && g.Open:
		mostOwn = min(maxSize, gossip.FrameOfOthers)
	}
	setting.Default(&m.MaxSize, maxSize)
	if !m.NoBroadcast {
		setting.Default(&g.Rules, 1)
	}
	return msgtype.Spec{
		Name: m.Name, MaxSize: m.MaxSize, Priority: msgtype.Priority(m.Priority),
		Compression: msgtype.Compression(m.Compression), QueueBytes: m.QueueBytes, NoBroadcast: m.NoBroadcast,
		Broadcast: msgtype.Broadcast{
			Topic: g.Topic, MaxSize: most, MaxPublish: mostOwn, Open: g.Open, ExplicitRelay: g.ExplicitRelay, Timed: g.Timed,
			Deadline: g.Deadline, Concurrency: g.Concurrency, ParkTime: g.ParkTime, PeerWait: g.PeerWait, Rules: g.Rules,
			Score: msgtype.Score(g.Score),
		},
	}.WithDefaults()
}

// checkSpec finds the mistakes of a declaration: dispatcher.ErrInvalidType for its
// name, a *ConfigError for each other one.
func checkSpec(spec msgtype.Spec) error {
	if err := dispatcher.ValidType(spec.Name); err != nil {
		return err
	}
	return renamed(spec.Validate(), func(e *msgtype.FieldError) *ConfigError {
		return &ConfigError{Field: fmt.Sprintf("%s.%s", e.Type, publicField(e.Field)), Err: e.Err}
	})
}

// publicField is what a field of msgtype.Spec is called in a MessageSpec.
func publicField(name string) string {
	if rest, ok := strings.CutPrefix(name, "Broadcast"); ok {
		return "Gossip" + rest
	}
	return name
}
