package netservice

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/swarm"
	"github.com/go-nebnet/nebnet/internal/swarm/sched"
)

// LargeStats is how broadcasts above 256 KiB have travelled since Start. What became of
// them is in GossipStats with all others: delivered, rejected and so on.
type LargeStats struct {
	Types    map[string]LargeTypeStats
	Messages []LargeMessage // under way, or served
	// Held is how many bytes are set aside for messages of others, Own for own ones.
	Held, Own int
	// WireIn and WireOut are all bytes on their streams.
	WireIn, WireOut int64
}

// LargeTypeStats are those of one message type.
type LargeTypeStats struct {
	Announced   int64         // messages of which a peer told first
	Fetched     int64         // that came whole
	Published   int64         // spread without having been fetched
	Refused     int64         // whose header was not accepted
	Expired     int64         // whose header stayed deferred
	Stalled     int64         // of which no more chunk came
	TurnedAway  int64         // for which there was no room: those of others come again
	TimeToWhole time.Duration // from the first announcement, of all that were fetched together

	Chunks, Duplicates, Junk, Lies int64 // received: missing, twice, never asked for, false
	PromisesKept, PromisesBroken   int64 // of peers
	Snubs                          int64 // peers that said to have chunks and sent nothing
	Served                         int64 // chunks handed out
	BytesIn, BytesOut              int64 // of chunks
}

// LargeMessage is a large broadcast under way, or one that is served to others.
type LargeMessage struct {
	ID    [32]byte
	Type  string
	From  peer.ID // that announced it first; empty for an own one
	Phase string  // waiting, checking, deferred, fetching, judging, held or serving
	Size  int     // bytes
	Here  int     // of them, in whole chunks
	Out   int     // of them, in chunks that a peer has or was given by this node
	Began time.Time
	// Holders are peers that have all of it, Told those that know of it from this node.
	Holders, Told int
	// Cut tells that it is passed on while it comes.
	Cut   bool
	Took  time.Duration // from Began until it was whole; 0 before that, and of own ones
	Tally LargeTally
}

// LargeTally is how the chunks of one message came and went, see LargeTypeStats.
type LargeTally struct {
	Duplicates, PromisesKept, PromisesBroken, Served int
}

func largeMessage(v sched.View) LargeMessage {
	return LargeMessage{
		ID: v.ID, Type: v.Type, From: v.From, Phase: v.Phase, Size: v.Size, Here: v.Here, Out: v.Out, Began: v.Began,
		Holders: v.Holders, Told: v.Told, Cut: v.Cut, Took: v.Took, Tally: LargeTally(v.Tally),
	}
}

func largeStats(s swarm.Stats) LargeStats {
	out := LargeStats{
		Types: make(map[string]LargeTypeStats, len(s.Types)),
		Held:  s.Held, Own: s.Own, WireIn: s.WireIn, WireOut: s.WireOut,
	}
	for name, c := range s.Types {
		out.Types[name] = LargeTypeStats(c)
	}
	for _, v := range s.Messages {
		out.Messages = append(out.Messages, largeMessage(v))
	}
	return out
}

// WithLargeProgress has f told of the large broadcasts of others while they come: when
// they begin, and then at most ten times a second each. f runs in a goroutine of its
// own; while it blocks, nothing is told. Default: nobody is told.
func WithLargeProgress(f func(m LargeMessage)) Option {
	return func(o *options) { o.progress = f }
}

func (n *Node) largeProgress() func(sched.View) {
	f := n.opts.progress
	if f == nil {
		return nil
	}
	return func(v sched.View) { f(largeMessage(v)) }
}
