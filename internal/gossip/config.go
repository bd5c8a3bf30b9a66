package gossip

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// Identity says who signs messages.
type Identity uint8

const (
	// Unsigned messages carry neither author nor signature, and are named by
	// their content. This is the default: what a blockchain sends is signed by
	// itself.
	Unsigned Identity = iota
	// Signed messages carry author, sequence number and signature; others are
	// rejected.
	Signed
)

// Defaults of Config's fields.
const (
	DefaultMaxMessageSize = 1 << 20
	DefaultMaxLargeSize   = 8 << 20
	DefaultPeerQueue      = 1024
	DefaultPeerQueueBytes = 32 << 20
	DefaultQueue          = 1024
	DefaultPending        = 256
	DefaultPendingBytes   = 16 << 20
	DefaultParked         = 4096
	DefaultParkedBytes    = 64 << 20
	DefaultParkedPerPeer  = 256
	DefaultParkedPerKey   = 256
	DefaultSeenTTL        = 2 * time.Minute
	DefaultSeenMessages   = 1 << 17
	DefaultHistoryBytes   = 64 << 20
	DefaultScoreInterval  = time.Second
	DefaultForeignAfter   = 10 * time.Second

	// FrameOfOthers is the largest data that fits into a frame of 1 MiB, which is
	// what go-libp2p-pubsub accepts by default.
	FrameOfOthers = 1<<20 - msgtype.BroadcastOverhead
)

// Config describes an engine. Fields without a default are required.
type Config struct {
	Host    host.Host
	Network string // network ID, part of topic names and of the protocol of large messages
	// Deliver takes over a validated message. It is called from many goroutines
	// at once. If it returns an error, the message counts as turned away: it may
	// come again. If wait is true it may wait for space until ctx ends; else it
	// must not block. Required.
	Deliver func(ctx context.Context, m Message, wait bool) error

	Obs *obs.Obs // default: discards
	// Rand chooses peers. Any number of goroutines may use it. Default: the
	// runtime's.
	Rand     *rand.Rand
	Identity Identity // default Unsigned

	// MessageID names a message in raw bytes; every node of the network must use
	// the same. from and seqno are empty in unsigned networks. Default:
	// ContentID or AuthorID, as Identity says.
	MessageID func(topic string, data []byte, from peer.ID, seqno []byte) string

	// Member says whether a peer has passed the handshake. It must not block.
	// PeerJoined and PeerLeft tell the engine that the answer changed. Nil:
	// everybody is a member.
	Member func(peer.ID) bool
	// Pace, if not nil, is given each stream that the engine has opened, and returns
	// what it writes to: a stream that writes when others on the connection let it,
	// and whose writes end when nothing of them moves, whatever their deadlines.
	Pace func(network.Stream) network.Stream
	// Heard is told, once a second at most for each stream, that something has
	// come from a peer. It must not block. Optional.
	Heard func(peer.ID)
	// Recommended is given signed records of other peers, at most 16, by a member with
	// a good score that has taken this node out of a mesh. They are not verified. It
	// may be called from many goroutines at once. Optional.
	Recommended func(from peer.ID, records [][]byte)
	// ForeignAfter is how long after its connection a peer that is no member is
	// waited for, before it may take part in open topics (if there are any) as a
	// foreigner. Default 10 s.
	ForeignAfter time.Duration

	// Params of mesh and score; the zero value stands for SmallNetwork.
	Params Params
	// AppScore is added to a peer's score, whatever the topic. It must not block
	// and not call the engine. A panic counts as 0. Optional.
	AppScore func(peer.ID) float64
	// OnScore is given all peers' scores every ScoreInterval (default 1 s). It
	// runs in a goroutine of its own and may be late. Optional.
	OnScore       func(map[peer.ID]Score)
	ScoreInterval time.Duration
	// MaxMessageSize bounds the data of one message on the stream that everybody
	// understands, in bytes; a frame may be 1 KiB more. Default 1 MiB. Other
	// implementations may accept frames of 1 MiB at most, see FrameOfOthers:
	// raise it only where every node does.
	MaxMessageSize int
	// Most is how many bytes of data of a type a member has said to take, 0 where that
	// is not known. It is sent no larger messages, and not told of them. It must not
	// block and not call the engine, which asks again after OfferChanged. Optional.
	Most func(p peer.ID, typ string) int
	// Unvalidated tells of a member that it passes on messages of a type that it has not
	// validated by the rules of this node. What is invalid of them counts against it in that
	// type alone, unless it has signed it. It must not block and not call the engine,
	// which asks again after OfferChanged and RulesChanged. Optional.
	Unvalidated func(p peer.ID, typ string) bool
	// Large carries what is above LargeFrame between members, in topics that are not
	// open. Members that do not take it that way get it by GossipSub, if MaxMessageSize
	// allows. Optional.
	Large Large
	// MaxLargeSize bounds the data of a message that Large carries. Default 8 MiB, and
	// MaxMessageSize without Large.
	MaxLargeSize int
	// PeerQueue is how many messages wait for one peer before whoever brings more for
	// it is made to wait: peers are read from slowly, and Publish blocks. An eighth of
	// PeerQueueBytes has the same effect. A peer that reads several times as slowly as
	// others is waited for 10 s at most, and a tenth of the time. PeerQueueBytes bounds
	// what waits, in bytes, with 64 for each message (four messages of the largest size
	// in any case): a peer above it is cut off, and starts anew with an empty queue. Defaults 1,024 and 32 MiB.
	PeerQueue, PeerQueueBytes int
	// Queue is how many messages of a type may wait for validation, beyond those that
	// are validated. When that fills up, peers that bring most are read from no more,
	// for as long as a hundred messages a second are taken, or 10 s; beyond it messages
	// are turned away. Default 1,024.
	Queue int
	// Pending and PendingBytes bound the published messages that wait for the first
	// peer of their topic, per type. Defaults 256 and 16 MiB.
	Pending, PendingBytes int

	// Parked and ParkedBytes bound the deferred messages in all, ParkedPerPeer
	// and ParkedPerKey those of one sender and of one key. Beyond, they are
	// turned away. Defaults 4,096, 64 MiB, 256 and 256.
	Parked, ParkedBytes, ParkedPerPeer, ParkedPerKey int

	// SeenTTL is how long message IDs are remembered, SeenMessages how many: beyond,
	// the oldest is forgotten earlier. Defaults 2 min and 131,072.
	SeenTTL      time.Duration
	SeenMessages int
	// HistoryBytes bounds the messages that are kept for peers to ask for, in bytes.
	// Default 64 MiB.
	HistoryBytes int
}

// largestFrame is the most bytes of a message, its encoding included, that GossipSub
// carries.
func (c *Config) largestFrame() int { return c.MaxMessageSize + msgtype.BroadcastOverhead }

func (c Config) withDefaults() Config {
	c.Obs = obs.Or(c.Obs)
	if reflect.ValueOf(c.Params).IsZero() {
		c.Params = SmallNetwork()
	}
	setting.Default(&c.ForeignAfter, DefaultForeignAfter)
	setting.Default(&c.ScoreInterval, DefaultScoreInterval)
	setting.Default(&c.MaxMessageSize, DefaultMaxMessageSize)
	if c.Large != nil {
		setting.Default(&c.MaxLargeSize, max(DefaultMaxLargeSize, c.MaxMessageSize))
	}
	setting.Default(&c.MaxLargeSize, c.MaxMessageSize)
	setting.Default(&c.PeerQueue, DefaultPeerQueue)
	setting.Default(&c.PeerQueueBytes, DefaultPeerQueueBytes)
	setting.Default(&c.Queue, DefaultQueue)
	setting.Default(&c.Pending, DefaultPending)
	setting.Default(&c.PendingBytes, DefaultPendingBytes)
	setting.Default(&c.Parked, DefaultParked)
	setting.Default(&c.ParkedBytes, DefaultParkedBytes)
	setting.Default(&c.ParkedPerPeer, DefaultParkedPerPeer)
	setting.Default(&c.ParkedPerKey, DefaultParkedPerKey)
	setting.Default(&c.SeenTTL, DefaultSeenTTL)
	setting.Default(&c.SeenMessages, DefaultSeenMessages)
	setting.Default(&c.HistoryBytes, DefaultHistoryBytes)
	return c
}

// Validate reports every field that cannot be used, as *setting.Error joined.
func (c Config) Validate() error {
	c = c.withDefaults()
	var check setting.Check
	check.Required("Host", c.Host != nil)
	check.Required("Network", c.Network != "")
	check.Required("Deliver", c.Deliver != nil)
	if c.Identity > Signed {
		check.Bad("Identity", "is unknown: %d", c.Identity)
	}
	setting.AtLeast(&check, "MaxMessageSize", c.MaxMessageSize, 1)
	setting.AtLeast(&check, "MaxLargeSize", c.MaxLargeSize, c.MaxMessageSize)
	setting.AtLeast(&check, "PeerQueue", c.PeerQueue, 1)
	setting.AtLeast(&check, "PeerQueueBytes", c.PeerQueueBytes, 1)
	setting.AtLeast(&check, "SeenMessages", c.SeenMessages, 1)
	setting.AtLeast(&check, "HistoryBytes", c.HistoryBytes, 1)
	setting.AtLeast(&check, "Queue", c.Queue, 1)
	setting.AtLeast(&check, "Pending", c.Pending, 1)
	setting.AtLeast(&check, "PendingBytes", c.PendingBytes, 1)
	setting.AtLeast(&check, "Parked", c.Parked, 1)
	setting.AtLeast(&check, "ParkedBytes", c.ParkedBytes, 1)
	setting.AtLeast(&check, "ParkedPerPeer", c.ParkedPerPeer, 1)
	setting.AtLeast(&check, "ParkedPerKey", c.ParkedPerKey, 1)
	setting.AtLeast(&check, "SeenTTL", c.SeenTTL, time.Second)
	setting.AtLeast(&check, "ScoreInterval", c.ScoreInterval, 100*time.Millisecond)
	setting.AtLeast(&check, "ForeignAfter", c.ForeignAfter, 0)
	return errors.Join(check.Err(), c.Params.Validate())
}
