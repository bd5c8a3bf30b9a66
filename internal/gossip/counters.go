package gossip

import (
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// Reasons for which a message is turned away.
const (
	awayFull     = "full"              // the subscriber had no space
	awayOverload = router.AwayOverload // too many messages of the type under validation
	awayTimeout  = router.AwayTimeout  // no slot, verdict or space by the deadline
	awayParking  = router.AwayParking  // no place among the deferred
	awayClosed   = "closed"            // the receiver is gone or failed
)

var awayReasons = [...]string{awayFull, awayOverload, awayTimeout, awayParking, awayClosed}

// counters of one message type. Every message that comes from a peer and is not
// dropped by the overlay itself ends in exactly one of Delivered, Duplicates,
// Rejected, Ignored, Away, or Parked and then one of them or Expired.
type counters struct {
	published, relayed, queued, unsent   metrics.Counter
	delivered, duplicates                metrics.Counter
	rejected, ignored, deferred, expired metrics.Counter
	retaken, panics, held, dropped       metrics.Counter
	forgotten, announced                 metrics.Counter
	bytesIn, bytesOut                    metrics.Counter
	away                                 map[string]metrics.Counter
	delay                                metrics.Histogram
	labels                               obs.Labels // of goroutines that validate
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
		held: c(obs.GossipHeld), dropped: c(obs.GossipDropped),
		forgotten: c(obs.GossipForgotten), announced: c(obs.GossipAnnounced),
		bytesIn: c(obs.GossipBytesIn), bytesOut: c(obs.GossipBytesOut),
		delay: o.Histogram(obs.GossipDelay + "." + typ), labels: o.Labels("gossip", "type", typ),
		away: make(map[string]metrics.Counter, len(awayReasons)),
	}
	for _, r := range awayReasons {
		n.away[r] = c(obs.GossipAway + "." + r)
	}
	return n
}

// export tells the metrics what has been counted since the last time. The router
// counts in plain numbers: a metric for each message and peer would cost more.
func (t *topic) export(now router.Counts) {
	was := &t.exported
	for _, c := range []struct {
		to       metrics.Counter
		now, was int64
	}{
		{t.n.published, now.Published, was.Published}, {t.n.relayed, now.Relayed, was.Relayed},
		{t.n.queued, now.Queued, was.Queued}, {t.n.unsent, now.Unsent, was.Unsent},
		{t.n.delivered, now.Delivered, was.Delivered}, {t.n.duplicates, now.Duplicates, was.Duplicates},
		{t.n.rejected, now.Rejected, was.Rejected}, {t.n.ignored, now.Ignored, was.Ignored},
		{t.n.deferred, now.Deferred, was.Deferred}, {t.n.expired, now.Expired, was.Expired},
		{t.n.retaken, now.Retaken, was.Retaken}, {t.n.forgotten, now.Forgotten, was.Forgotten},
		{t.n.announced, now.Announced, was.Announced}, {t.n.dropped, now.Dropped, was.Dropped},
		{t.n.held, t.own.held, t.ownExported.held},
		{t.n.bytesIn, t.own.bytesIn, t.ownExported.bytesIn}, {t.n.bytesOut, t.own.bytesOut, t.ownExported.bytesOut},
	} {
		if c.now != c.was {
			c.to.Inc(c.now - c.was)
		}
	}
	for reason, n := range now.Away {
		if c := t.n.away[reason]; c != nil && n != was.Away[reason] {
			c.Inc(n - was.Away[reason])
		}
	}
	t.exported, t.ownExported = now, t.own
}
