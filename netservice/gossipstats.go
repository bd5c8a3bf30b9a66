package netservice

import (
	"encoding/json"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip"
)

// GossipStats is what gossip has done since Start, and how it stands. Those above
// 256 KiB count with the others of their type; how they travel is in LargeStats.
type GossipStats struct {
	Types map[string]GossipTypeStats
	Peers map[peer.ID]GossipPeerStats // in JSON by the text of the ID
	// Parked and ParkedBytes are the deferred messages.
	Parked, ParkedBytes int
	// WireIn and WireOut are all bytes on gossip streams.
	WireIn, WireOut int64
}

// MarshalJSON names peers by the text of their IDs: encoding/json takes the raw
// bytes for the key of a map, because peer.ID is a string.
func (s GossipStats) MarshalJSON() ([]byte, error) {
	type plain GossipStats
	peers := make(map[string]GossipPeerStats, len(s.Peers))
	for id, p := range s.Peers {
		peers[id.String()] = p
	}
	return json.Marshal(struct {
		plain
		Peers map[string]GossipPeerStats
	}{plain(s), peers})
}

// GossipTypeStats are those of one message type. Of messages from peers,
//
//	Delivered + Duplicates + Rejected + Ignored + Expired + the sum of Away
//
// is all that came in, less those parked or under validation now. A message that
// was turned away and is delivered when it comes again counts in both: two copies
// came.
type GossipTypeStats struct {
	Topic  string
	Joined bool
	Mesh   int // peers

	Published, Relayed int64 // own, and others' by explicit Relay
	Queued, Unsent     int64 // of Published: had to wait for a peer; met none
	Waiting            int   // of Queued, now
	Delivered          int64
	Duplicates         int64
	Rejected, Ignored  int64
	Deferred, Expired  int64
	Away               map[string]int64 // turned away, by reason
	Retaken            int64            // came again after Away
	Forgotten          int64            // of Away and Expired: did not come again in time, or were the oldest of too many
	Announced          int64            // told to peers that appeared or were grafted, one message to one peer counts one
	Panics             int64            // of the validator
	Held               int64            // of Published: had to wait because the queue of a peer was full
	Dropped            int64            // copies that a peer's queue did not take, or that ended with its stream
	BytesIn, BytesOut  int64            // data, duplicates included
	// Delay is from publication to delivery here, of types declared Timed.
	Delay GossipDelayStats
}

// GossipDelayStats sum up how long messages took. The quantiles are of a sample of
// the last thousand or so. Clocks of different machines differ by more than
// messages take unless they are kept in step.
type GossipDelayStats struct {
	Count               int64 // messages that were measured
	Mean, P50, P99, Max time.Duration
}

// GossipPeerStats are those of one peer.
type GossipPeerStats struct {
	Protocol string           // of the stream to it; empty before there is one
	Mesh     []string         // types in whose mesh it is, sorted
	Score    float64          // as of the last second
	Parts    GossipScoreParts // of Score
	Waiting  int64            // bytes that wait to be written to it
	Slow     int64            // times that nobody waited for its full queue any more, as others are faster
	// MessagesIn and MessagesOut count messages from it, copies included, and those
	// that its queue took; BytesIn and BytesOut their data. They begin anew when the
	// peer comes again.
	MessagesIn, MessagesOut, BytesIn, BytesOut int64
}

// GossipScoreParts are what a peer's score in broadcasting is the sum of. All but
// Topics and Application are zero or less.
type GossipScoreParts struct {
	Topics      float64 // for its time in meshes and the messages that it brought or failed to bring, over all types
	Application float64 // that the program gave
	Colocation  float64 // for too many peers behind its address
	Behaviour   float64 // for coming back too early, and for messages that it promised and did not send
	Faults      float64 // for violations of the protocol
	Ignored     float64 // for messages that validators did not want
}

func gossipPeerStats(p gossip.PeerStats) GossipPeerStats {
	return GossipPeerStats{
		Protocol: p.Protocol, Mesh: p.Mesh, Score: p.Score,
		Parts: GossipScoreParts{
			Topics: p.Parts.Topics, Application: p.Parts.App, Colocation: p.Parts.Colocation,
			Behaviour: p.Parts.Behaviour, Faults: p.Parts.Faults, Ignored: p.Parts.Ignored,
		},
		Waiting: p.Waiting, Slow: p.Slow,
		MessagesIn: p.MessagesIn, MessagesOut: p.MessagesOut, BytesIn: p.BytesIn, BytesOut: p.BytesOut,
	}
}

func gossipStats(s gossip.Stats) GossipStats {
	out := GossipStats{
		Types: make(map[string]GossipTypeStats, len(s.Types)), Peers: make(map[peer.ID]GossipPeerStats, len(s.Peers)),
		Parked: s.Parked, ParkedBytes: s.ParkedBytes, WireIn: s.WireIn, WireOut: s.WireOut,
	}
	for id, p := range s.Peers {
		out.Peers[id] = gossipPeerStats(p)
	}
	for name, t := range s.Types {
		out.Types[name] = GossipTypeStats{
			Topic: t.Topic, Joined: t.Joined, Mesh: t.Mesh,
			Published: t.Published, Relayed: t.Relayed, Queued: t.Queued, Unsent: t.Unsent, Waiting: t.Waiting,
			Delivered: t.Delivered, Duplicates: t.Duplicates, Rejected: t.Rejected, Ignored: t.Ignored,
			Deferred: t.Deferred, Expired: t.Expired, Away: t.Away, Retaken: t.Retaken, Forgotten: t.Forgotten,
			Announced: t.Announced, Panics: t.Panics, Held: t.Held, Dropped: t.Dropped, BytesIn: t.BytesIn, BytesOut: t.BytesOut,
			Delay: GossipDelayStats(t.Delay),
		}
	}
	return out
}
