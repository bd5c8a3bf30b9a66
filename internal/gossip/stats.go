package gossip

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
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
// is all that came in, less those parked or under validation now. A message that
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
	Dropped            int64 // copies that a peer's full queue did not take, or that ended with its stream
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

// PeerStats is Stats of one peer.
type PeerStats struct {
	Protocol string   // of the stream to it; empty before there is one
	Mesh     []string // types in whose mesh it is, sorted
	Score    float64  // as of the last ScoreInterval; with streams for bulk types, the lower of two
	Waiting  int64    // bytes that wait to be written to it
}

// Stats returns a snapshot.
func (e *Engine) Stats() Stats {
	s := Stats{Types: make(map[string]TypeStats), Peers: make(map[peer.ID]PeerStats)}
	for _, t := range e.topics() {
		s.Types[t.Type] = t.stats()
	}
	e.parkMu.Lock()
	s.Parked, s.ParkedBytes = e.parking.total, e.parking.bytes
	e.parkMu.Unlock()
	for i, l := range e.lanes() {
		if i == 0 {
			s.WireIn, s.WireOut = l.wireIn.Count(), l.wireOut.Count()
		}
		peers, scores := l.tracker.snapshot()
		for p, k := range peers {
			ps, both := s.Peers[p]
			if ps.Protocol == "" {
				ps.Protocol = string(k.protocol)
			}
			for name := range k.mesh {
				if t := e.byName(name); t != nil {
					ps.Mesh = append(ps.Mesh, t.Type)
				}
			}
			slices.Sort(ps.Mesh)
			if score := scores[p]; !both || score < ps.Score {
				ps.Score = score
			}
			ps.Waiting += l.backlog.of(p)
			s.Peers[p] = ps
		}
	}
	return s
}

func (t *topic) stats() TypeStats {
	s := TypeStats{
		Topic: t.Name, Joined: t.joined.Load(), Mesh: int(t.mesh.Load()),
		Published: t.n.published.Count(), Relayed: t.n.relayed.Count(),
		Queued: t.n.queued.Count(), Unsent: t.n.unsent.Count(), Waiting: int(t.pending.n.Load()),
		Delivered: t.n.delivered.Count(), Duplicates: t.n.duplicates.Count(),
		Rejected: t.n.rejected.Count(), Ignored: t.n.ignored.Count(),
		Deferred: t.n.deferred.Count(), Expired: t.n.expired.Count(),
		Away:    make(map[string]int64, len(t.n.away)),
		Retaken: t.n.retaken.Count(), Forgotten: t.n.forgotten.Count(), Announced: t.n.announced.Count(),
		Panics: t.n.panics.Count(), Dropped: t.n.dropped.Count(),
		BytesIn: t.n.bytesIn.Count(), BytesOut: t.n.bytesOut.Count(),
	}
	if t.stamps {
		s.Delay = delayStats(t.n.delay)
	}
	for r, c := range t.n.away {
		if n := c.Count(); n > 0 {
			s.Away[r] = n
		}
	}
	if n := t.n.unvalidated.Count(); n > 0 {
		s.Away[awayUnvalidated] = n
	}
	return s
}
