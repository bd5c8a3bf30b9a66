package gossip

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// Stats is what the engine has done since it was made, and how it stands now.
type Stats struct {
	Types map[string]TypeStats
	Peers map[peer.ID]PeerStats
	// Parked and ParkedBytes are the deferred messages.
	Parked, ParkedBytes int
	// WireIn and WireOut are all bytes on gossip streams.
	WireIn, WireOut int64
}

// MarshalJSON names peers by the text of their IDs: encoding/json takes the raw
// bytes for the key of a map, because peer.ID is a string.
func (s Stats) MarshalJSON() ([]byte, error) {
	type plain Stats
	peers := make(map[string]PeerStats, len(s.Peers))
	for id, p := range s.Peers {
		peers[id.String()] = p
	}
	return json.Marshal(struct {
		plain
		Peers map[string]PeerStats
	}{plain(s), peers})
}

// TypeStats is Stats of one message type. Of messages from peers,
//
//	Delivered + Duplicates + Rejected + Ignored + Expired + the sum of Away
//
// is all that came in, less those deferred or under validation now. A message that
// was turned away and is delivered when it comes again counts in both: two copies
// came.
type TypeStats struct {
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
	Away               map[string]int64 // by reason
	Retaken            int64            // came again after Away
	Forgotten          int64            // of Away and Expired: did not come again in time, or were the oldest of too many
	Announced          int64            // told to peers that appeared or were grafted, one message to one peer counts one
	Panics             int64
	Held               int64 // of Published: had to wait because the queue of a peer was full
	Dropped            int64 // copies that a peer's queue did not take, or that ended with its stream
	BytesIn, BytesOut  int64 // data, duplicates included
	// Delay is from publication to delivery here, of messages whose publisher has
	// declared the type Timed.
	Delay DelayStats
}

// DelayStats sum up how long messages took. The quantiles are of a sample of
// the last thousand or so. Clocks of different machines differ by more than
// messages take unless they are kept in step.
type DelayStats struct {
	Count               int64 // messages that were measured
	Mean, P50, P99, Max time.Duration
}

func delayStats(h metrics.Histogram) DelayStats {
	s := h.Snapshot()
	micros := func(v float64) time.Duration { return time.Duration(v * float64(time.Microsecond)) }
	return DelayStats{
		Count: s.Count(), Mean: micros(s.Mean()), P50: micros(s.Percentile(0.5)),
		P99: micros(s.Percentile(0.99)), Max: micros(float64(s.Max())),
	}
}

// ScoreParts are what a peer's score is the sum of.
type ScoreParts = router.ScoreParts

// PeerStats is Stats of one peer.
type PeerStats struct {
	Protocol string   // of the stream to it; empty before there is one
	Mesh     []string // types in whose mesh it is, sorted
	Score    float64
	Parts    ScoreParts // of Score
	Waiting  int64      // bytes that wait to be written to it
	Slow     int64      // times that nobody waited for its full queue any more, as others are faster
	// MessagesIn and MessagesOut count messages from it, copies included, and those
	// that its queue took; BytesIn and BytesOut their data.
	MessagesIn, MessagesOut, BytesIn, BytesOut int64
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	s := Stats{Types: make(map[string]TypeStats), Peers: make(map[peer.ID]PeerStats)}
	s.WireIn, s.WireOut = e.cfg.Obs.Counter(obs.GossipWireIn).Count(), e.cfg.Obs.Counter(obs.GossipWireOut).Count()
	topics := e.table.Load()
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Parked, s.ParkedBytes = e.router.AllDeferred()
	for _, t := range topics.byType {
		v, _ := e.router.Topic(t.Name)
		s.Types[t.Type] = t.stats(v)
	}
	e.router.Peers(func(v router.PeerView) bool {
		ps := PeerStats{Score: v.Score, Parts: v.Parts}
		if r := e.peers[v.ID]; r != nil {
			ps.Protocol = r.out.protocol()
			ps.Waiting = int64(r.out.waiting())
			ps.Slow = r.slow
			ps.MessagesIn, ps.BytesIn = r.got.messages, r.got.bytes
			ps.MessagesOut, ps.BytesOut = r.sent.messages, r.sent.bytes
		}
		for _, name := range v.Mesh {
			if t := topics.byName[name]; t != nil {
				ps.Mesh = append(ps.Mesh, t.Type)
			}
		}
		slices.Sort(ps.Mesh)
		s.Peers[v.ID] = ps
		return true
	})
	return s
}

// stats is called with Engine.mu held.
func (t *topic) stats(v router.TopicView) TypeStats {
	s := TypeStats{
		Topic: t.Name, Joined: v.Joined, Mesh: len(v.Mesh),
		Published: v.Published, Relayed: v.Relayed,
		Queued: v.Queued, Unsent: v.Unsent, Waiting: v.Waiting,
		Delivered: v.Delivered, Duplicates: v.Duplicates,
		Rejected: v.Rejected, Ignored: v.Ignored,
		Deferred: v.Deferred, Expired: v.Expired,
		Away:    v.Away,
		Retaken: v.Retaken, Forgotten: v.Forgotten, Announced: v.Announced,
		Panics: t.n.panics.Count(), Held: t.own.held, Dropped: v.Dropped,
		BytesIn: t.own.bytesIn, BytesOut: t.own.bytesOut,
	}
	if t.stamps {
		s.Delay = delayStats(t.n.delay)
	}
	return s
}
