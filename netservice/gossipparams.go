package netservice

import (
	"time"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// GossipParams are the parameters of GossipSub's mesh and of the scores of
// peers. Take SmallNetwork, PublicNetwork or LowLatency and change what must
// differ. All nodes of a network may have different ones.
type GossipParams struct {
	// D peers are wanted in the mesh of a topic, at least Dlo and fewer than
	// Dhi. When there are too many, the Dscore best are kept; at least Dout are
	// peers that this node dialled. Dout < Dlo <= D < Dhi, Dout < D/2.
	D, Dlo, Dhi, Dscore, Dout int
	// Dlazy peers outside the mesh, or GossipFactor of them if that is more, are
	// told at each heartbeat what this node has.
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

// The sets of parameters, by the names that Config.GossipProfile knows them.
var gossipProfiles = map[string]func() GossipParams{
	"small-network":  SmallNetwork,
	"public-network": PublicNetwork,
	"low-latency":    LowLatency,
}

// SmallNetwork suits 5 to some hundreds of nodes, and private networks of any
// size: addresses are not held against peers.
func SmallNetwork() GossipParams { return GossipParams(gossip.SmallNetwork()) }

// PublicNetwork suits open networks of up to 10,000 nodes.
func PublicNetwork() GossipParams { return GossipParams(gossip.PublicNetwork()) }

// LowLatency spends bytes to save time.
func LowLatency() GossipParams { return GossipParams(gossip.LowLatency()) }

// checkGossipParams reports mistakes in the form of those of a Config.
func checkGossipParams(p GossipParams) error {
	return renamed(gossip.Params(p).Validate(), func(e *setting.Error) *ConfigError {
		return &ConfigError{Field: "Gossip" + e.Field, Err: e.Err}
	})
}
