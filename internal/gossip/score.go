package gossip

import (
	"math"
	"time"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// Score is what a peer counts.
type Score struct {
	Value float64
	// Passed is what it has lost in single types for what it merely passed on, see
	// Config.Unvalidated; <= 0, and not part of Value.
	Passed float64
}

const (
	meshTimeCap    = 300  // seconds
	deliveryShare  = 0.25 // of the expected messages, which a mesh peer must bring
	deliveryDecay  = 2 * time.Minute
	deliveryWindow = 100 * time.Millisecond
	deliveryGrace  = time.Minute

	faultWeight = -20 // for what no honest peer sends
	faultHalf   = 2 * time.Minute

	unsubscribeBackoff = 10 * time.Second
	fanoutTTL          = time.Minute
	retransmission     = 3
	opportunisticTicks = 60
	opportunisticPeers = 2
	// acceptExchange is which part of TopicCap a peer must have earned before the
	// peers are taken that it recommends.
	acceptExchange = 10
)

func (p Params) mesh() router.MeshParams {
	return router.MeshParams{
		D: p.D, Dlo: p.Dlo, Dhi: p.Dhi, Dscore: p.Dscore, Dout: p.Dout, Dlazy: p.Dlazy,
		GossipFactor: p.GossipFactor, Heartbeat: p.Heartbeat,
		HistoryLength: p.HistoryLength, HistoryGossip: p.HistoryGossip,
		FloodPublish: p.FloodPublish, DontWantAbove: p.DontWantAbove,
		PruneBackoff: p.PruneBackoff, MaxBackoff: p.MaxBackoff, UnsubscribeBackoff: unsubscribeBackoff,
		FanoutTTL: fanoutTTL, Retransmission: retransmission,
		OpportunisticTicks: opportunisticTicks, OpportunisticPeers: opportunisticPeers,
	}
}

func (p Params) score() router.ScoreParams {
	return router.ScoreParams{
		GossipThreshold: p.GossipThreshold, PublishThreshold: p.PublishThreshold, GraylistThreshold: p.GraylistThreshold,
		AcceptExchange:         p.TopicCap / acceptExchange,
		OpportunisticThreshold: p.OpportunisticThreshold,
		TopicCap:               p.TopicCap,
		ColocationWeight:       p.ColocationWeight, ColocationFree: max(p.ColocationFree, 1),
		BehaviourWeight: p.BehaviourWeight, BehaviourFree: p.BehaviourFree, BehaviourDecay: decay(p.BehaviourDecay),
		FaultWeight: faultWeight, FaultDecay: math.Exp2(-1 / faultHalf.Seconds()),
		Retain: p.RetainScore,
	}
}

func (p Params) topicScore(s msgtype.Score) router.TopicScore {
	w := s.Weight
	switch {
	case w == 0:
		w = 1
	case w < 0:
		w = 0
	}
	t := router.TopicScore{
		Weight:         w,
		MeshTimeWeight: p.MeshTimeWeight, MeshTimeCap: meshTimeCap,
		FirstWeight: p.FirstWeight, FirstDecay: decay(p.FirstDecay), FirstCap: p.FirstCap,
		DeliveryDecay: decay(deliveryDecay), FailureDecay: decay(deliveryDecay),
		InvalidWeight: p.InvalidWeight, InvalidDecay: decay(p.InvalidDecay),
	}
	if s.PerSecond > 0 {
		// The counter of a peer that brings r messages a second settles at
		// r/(1-decay).
		full := s.PerSecond / (1 - t.DeliveryDecay)
		t.DeliveryThreshold = deliveryShare * full
		t.DeliveryCap = full
		// A peer that brings nothing at all ends at the graylist.
		t.DeliveryWeight = p.GraylistThreshold / (t.DeliveryThreshold * t.DeliveryThreshold)
		t.DeliveryWindow = deliveryWindow
		t.DeliveryGrace = deliveryGrace
	}
	return t
}

// decay is the factor a second by which a counter of 1 is as good as 0, which is
// below 0.01, after d.
func decay(d time.Duration) float64 { return math.Pow(0.01, 1/d.Seconds()) }
