package gossip

import (
	"math"
	"time"

	"github.com/go-nebnet/nebnet/internal/setting"
)

// Params are the overlay's and the score's parameters. Take a preset and change
// what must differ: [SmallNetwork], [PublicNetwork] or [LowLatency]. All nodes
// of a network may have different ones.
type Params struct {
	// D peers are wanted in the mesh of a topic, at least Dlo and fewer than
	// Dhi. When there are too many, the Dscore best are kept; at least Dout are
	// peers that this node dialled. Dout < Dlo <= D < Dhi, Dout < D/2.
	D, Dlo, Dhi, Dscore, Dout int
	// Dlazy peers outside the mesh, or GossipFactor of them if that is more, are
	// told at each heartbeat what this node has that they were not told of, and once
	// more of what is announced for the last time.
	Dlazy        int
	GossipFactor float64
	// Heartbeat is the time between two passes over the mesh, at least 100 ms.
	Heartbeat time.Duration
	// HistoryLength heartbeats long a message can be asked for; those of the
	// last HistoryGossip are announced.
	HistoryLength, HistoryGossip int
	// FloodPublish sends this node's own messages to every peer of the topic
	// and not only to the mesh: one hop fewer for many, more bytes.
	FloodPublish bool
	// DontWantAbove is the size in bytes from which on mesh peers are told not
	// to send a message that has arrived already. It costs one small frame per
	// message and mesh peer. All presets have 16 KiB.
	DontWantAbove int
	// PruneBackoff is how long a pruned peer must wait before it may graft
	// again, at least 1 s. MaxBackoff bounds what a remote peer may ask for.
	PruneBackoff, MaxBackoff time.Duration

	// Thresholds of the score. Below 0 a peer is not kept in a mesh; below
	// GossipThreshold it takes no part in gossip; below PublishThreshold it is
	// sent nothing; below GraylistThreshold nothing of it is read.
	// GraylistThreshold <= PublishThreshold <= GossipThreshold <= 0.
	GossipThreshold, PublishThreshold, GraylistThreshold float64
	// OpportunisticThreshold is the median mesh score under which better peers
	// are grafted, >= 0.
	OpportunisticThreshold float64
	// TopicCap bounds what good behaviour in topics earns, > 0.
	TopicCap float64

	// MeshTimeWeight is earned per second in a mesh, for at most 300 s.
	MeshTimeWeight float64
	// FirstWeight is earned per message that the peer brought first, for at most
	// FirstCap of them, forgotten over FirstDecay.
	FirstWeight, FirstCap float64
	FirstDecay            time.Duration
	// InvalidWeight times the square of the number of invalid messages is
	// lost, <= 0; the number is forgotten over InvalidDecay.
	InvalidWeight float64
	InvalidDecay  time.Duration
	// BehaviourWeight times the square of what exceeds BehaviourFree is lost,
	// <= 0, for broken promises and grafts during back-off; the count is
	// forgotten over BehaviourDecay.
	BehaviourWeight, BehaviourFree float64
	BehaviourDecay                 time.Duration
	// ColocationWeight times the square of what exceeds ColocationFree peers of
	// one IP address (or IPv6 /64) is lost by each, <= 0. 0 switches it off:
	// private networks live behind few addresses.
	ColocationWeight float64
	ColocationFree   int
	// RetainScore is how long a bad score outlives its connection.
	RetainScore time.Duration
}

// SmallNetwork suits 5 to some hundreds of nodes, and private networks of any
// size: addresses do not count against peers.
func SmallNetwork() Params {
	return Params{
		D: 6, Dlo: 5, Dhi: 11, Dscore: 4, Dout: 2,
		Dlazy: 6, GossipFactor: 0.25,
		Heartbeat:     time.Second,
		HistoryLength: 6, HistoryGossip: 4,
		FloodPublish:  true,
		DontWantAbove: 16 << 10, // best on slow lines, see doc.go: TestDontWantAbove of netservice
		PruneBackoff:  time.Minute, MaxBackoff: time.Hour,

		GossipThreshold: -10, PublishThreshold: -40, GraylistThreshold: -80,
		OpportunisticThreshold: 1, TopicCap: 50,
		MeshTimeWeight: 0.01,
		FirstWeight:    0.5, FirstCap: 20, FirstDecay: 10 * time.Minute,
		InvalidWeight: -10, InvalidDecay: 10 * time.Minute,
		BehaviourWeight: -10, BehaviourFree: 6, BehaviourDecay: 10 * time.Minute,
		RetainScore: 10 * time.Minute,
	}
}

// PublicNetwork suits hundreds to ten thousand nodes that anybody may join.
func PublicNetwork() Params {
	p := SmallNetwork()
	p.D, p.Dlo, p.Dhi, p.Dout = 8, 6, 12, 3
	p.ColocationWeight, p.ColocationFree = -10, 8
	p.InvalidDecay = time.Hour
	p.RetainScore = time.Hour
	p.OpportunisticThreshold = 2
	return p
}

// LowLatency spends bandwidth on time: a wider mesh and a faster heartbeat.
func LowLatency() Params {
	p := SmallNetwork()
	p.D, p.Dlo, p.Dhi, p.Dout = 10, 8, 16, 3
	p.Heartbeat = 500 * time.Millisecond
	p.HistoryLength, p.HistoryGossip = 12, 8
	return p
}

// Validate reports every field that cannot be used, as *setting.Error joined.
func (p Params) Validate() error {
	var check setting.Check
	bad := func(field, format string, args ...any) { check.Bad("Params."+field, format, args...) }
	if p.D < 1 || p.Dlo < 1 || p.Dlo > p.D {
		bad("Dlo", "want 1 <= Dlo (%d) <= D (%d)", p.Dlo, p.D)
	}
	if p.Dhi <= p.D {
		bad("Dhi", "want more than D (%d), have %d", p.D, p.Dhi)
	}
	if p.Dscore < 0 || p.Dscore > p.D {
		bad("Dscore", "want 0 to D (%d), have %d", p.D, p.Dscore)
	}
	if p.Dout < 0 || p.Dout >= p.Dlo || 2*p.Dout >= p.D {
		bad("Dout", "want less than Dlo (%d) and than half of D (%d), have %d", p.Dlo, p.D, p.Dout)
	}
	if p.Dlazy < 0 {
		bad("Dlazy", "negative")
	}
	if p.HistoryGossip < 1 || p.HistoryGossip > p.HistoryLength {
		bad("HistoryGossip", "want 1 to HistoryLength (%d), have %d", p.HistoryLength, p.HistoryGossip)
	}
	if p.DontWantAbove < 1 {
		bad("DontWantAbove", "want at least 1, have %d", p.DontWantAbove)
	}
	p.validateTimes(bad)
	p.validateScore(bad)
	return check.Err()
}

func (p Params) validateTimes(bad func(field, format string, args ...any)) {
	atLeast := func(field string, d, least time.Duration) {
		if d < least {
			bad(field, "want at least %v, have %v", least, d)
		}
	}
	atLeast("Heartbeat", p.Heartbeat, 100*time.Millisecond)
	atLeast("PruneBackoff", p.PruneBackoff, time.Second)
	atLeast("MaxBackoff", p.MaxBackoff, p.PruneBackoff)
	atLeast("FirstDecay", p.FirstDecay, 2*time.Second)
	atLeast("InvalidDecay", p.InvalidDecay, 2*time.Second)
	atLeast("BehaviourDecay", p.BehaviourDecay, 2*time.Second)
	atLeast("RetainScore", p.RetainScore, 0)
}

func (p Params) validateScore(bad func(field, format string, args ...any)) {
	number := func(field string, v float64, ok bool, want string) {
		if math.IsNaN(v) || math.IsInf(v, 0) || !ok {
			bad(field, "want a number %s, have %v", want, v)
		}
	}
	number("GossipFactor", p.GossipFactor, p.GossipFactor >= 0 && p.GossipFactor <= 1, "from 0 to 1")
	number("GossipThreshold", p.GossipThreshold, p.GossipThreshold <= 0, "<= 0")
	number("PublishThreshold", p.PublishThreshold, p.PublishThreshold <= p.GossipThreshold, "<= GossipThreshold")
	number("GraylistThreshold", p.GraylistThreshold, p.GraylistThreshold <= p.PublishThreshold, "<= PublishThreshold")
	number("OpportunisticThreshold", p.OpportunisticThreshold, p.OpportunisticThreshold >= 0, ">= 0")
	number("TopicCap", p.TopicCap, p.TopicCap > 0, "> 0")
	number("MeshTimeWeight", p.MeshTimeWeight, p.MeshTimeWeight >= 0, ">= 0")
	number("FirstWeight", p.FirstWeight, p.FirstWeight >= 0, ">= 0")
	number("FirstCap", p.FirstCap, p.FirstCap > 0, "> 0")
	number("InvalidWeight", p.InvalidWeight, p.InvalidWeight <= 0, "<= 0")
	number("BehaviourWeight", p.BehaviourWeight, p.BehaviourWeight <= 0, "<= 0")
	number("BehaviourFree", p.BehaviourFree, p.BehaviourFree >= 0, ">= 0")
	number("ColocationWeight", p.ColocationWeight, p.ColocationWeight <= 0, "<= 0")
	if p.ColocationWeight != 0 && p.ColocationFree < 1 {
		bad("ColocationFree", "want at least 1, have %d", p.ColocationFree)
	}
}
