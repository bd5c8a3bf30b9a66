package gossip

import (
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// Reasons for which a message is turned away.
const (
	awayFull     = "full"     // the subscriber had no room
	awayOverload = "overload" // too many messages of the type under validation
	awayTimeout  = "timeout"  // no slot, verdict or room by the deadline
	awayParking  = "parking"  // no room among the deferred
	awayClosed   = "closed"   // the receiver is gone or failed

	awayUnvalidated = "unvalidated" // the queue before validation was full, or the validator being replaced
)

var awayReasons = [...]string{awayFull, awayOverload, awayTimeout, awayParking, awayClosed}

// counters of one message type. Every message that comes from a peer and is not
// dropped by the overlay itself ends in exactly one of Delivered, Duplicates,
// Rejected, Ignored, Away, or Parked and then one of them or Expired.
type counters struct {
	published, relayed, queued, unsent    metrics.Counter
	delivered, duplicates                 metrics.Counter
	rejected, ignored, deferred, expired  metrics.Counter
	retaken, panics, dropped, unvalidated metrics.Counter
	forgotten, announced                  metrics.Counter
	bytesIn, bytesOut                     metrics.Counter
	away                                  map[string]metrics.Counter
	delay                                 metrics.Histogram
}

func newCounters(o *obs.Obs, typ string) counters {
	c := func(prefix string) metrics.Counter { return o.ByType(prefix, typ) }
	n := counters{
		published: c(obs.GossipPublished), relayed: c(obs.GossipRelayed),
		queued: c(obs.GossipQueued), unsent: c(obs.GossipUnsent),
		delivered: c(obs.GossipDelivered), duplicates: c(obs.GossipDuplicates),
		rejected: c(obs.GossipRejected), ignored: c(obs.GossipIgnored),
		deferred: c(obs.GossipDeferred), expired: c(obs.GossipExpired),
		retaken: c(obs.GossipRetaken), panics: c(obs.GossipPanics),
		dropped: c(obs.GossipDropped), unvalidated: c(obs.GossipUnvalidated),
		forgotten: c(obs.GossipForgotten), announced: c(obs.GossipAnnounced),
		bytesIn: c(obs.GossipBytesIn), bytesOut: c(obs.GossipBytesOut),
		delay: o.Histogram(obs.GossipDelay + "." + typ),
		away:  make(map[string]metrics.Counter, len(awayReasons)),
	}
	for _, r := range awayReasons {
		n.away[r] = c(obs.GossipAway + "." + r)
	}
	return n
}
