package gossip

import (
	"fmt"
	"math"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// TopicScore weighs one topic in a peer's score.
type TopicScore struct {
	// Weight of the topic, >= 0; 0 stands for 1. Negative switches the topic's
	// part of the score off.
	Weight float64
	// PerSecond is how many messages a second every mesh peer is expected to
	// bring in normal times. 0, the default, expects nothing. A mesh peer that
	// brings less than a quarter of it for a minute loses score, which finds
	// those that keep messages back; do not set it for types that may be quiet.
	PerSecond float64
}

// Validate reports what cannot be used.
func (s TopicScore) Validate() error {
	if math.IsNaN(s.Weight) || math.IsInf(s.Weight, 0) {
		return &ConfigError{"Score.Weight", fmt.Sprintf("is %v", s.Weight)}
	}
	if !(s.PerSecond >= 0 && s.PerSecond <= math.MaxInt32) {
		return &ConfigError{"Score.PerSecond", fmt.Sprintf("is %v, must be 0 to 2^31-1", s.PerSecond)}
	}
	return nil
}

const (
	meshTimeCap    = 300  // seconds
	deliveryShare  = 0.25 // of the expected messages, which a mesh peer must bring
	deliveryDecay  = 2 * time.Minute
	deliveryWindow = 100 * time.Millisecond
	deliveryGrace  = time.Minute
)

func (p Params) router() pubsub.GossipSubParams {
	g := pubsub.DefaultGossipSubParams()
	g.D, g.Dlo, g.Dhi, g.Dscore, g.Dout = p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout
	g.Dlazy, g.GossipFactor = p.Dlazy, p.GossipFactor
	g.HeartbeatInterval = p.Heartbeat
	g.HistoryLength, g.HistoryGossip = p.HistoryLength, p.HistoryGossip
	g.PruneBackoff = p.PruneBackoff
	g.IDontWantMessageThreshold = p.DontWantAbove
	g.SlowHeartbeatWarning = 0
	// Redialling is the peer manager's, with its back-off and address rules.
	g.DirectConnectTicks = math.MaxUint64
	g.Connectors = 1
	return g
}

func (p Params) peerScore(app func(peer.ID) float64, seenTTL time.Duration) (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	if app == nil {
		app = func(peer.ID) float64 { return 0 }
	}
	return &pubsub.PeerScoreParams{
			Topics:                      make(map[string]*pubsub.TopicScoreParams),
			TopicScoreCap:               p.TopicCap,
			AppSpecificScore:            app,
			AppSpecificWeight:           1,
			IPColocationFactorWeight:    p.ColocationWeight,
			IPColocationFactorThreshold: max(p.ColocationFree, 1),
			BehaviourPenaltyWeight:      p.BehaviourWeight,
			BehaviourPenaltyThreshold:   p.BehaviourFree,
			BehaviourPenaltyDecay:       decay(p.BehaviourDecay),
			DecayInterval:               time.Second,
			DecayToZero:                 pubsub.DefaultDecayToZero,
			RetainScore:                 p.RetainScore,
			SeenMsgTTL:                  seenTTL,
		}, &pubsub.PeerScoreThresholds{
			GossipThreshold:   p.GossipThreshold,
			PublishThreshold:  p.PublishThreshold,
			GraylistThreshold: p.GraylistThreshold,
			// Peers are found by discovery; a prune's list is not dialled.
			AcceptPXThreshold:           math.MaxFloat64,
			OpportunisticGraftThreshold: p.OpportunisticThreshold,
		}
}

func (p Params) topicScore(s TopicScore) *pubsub.TopicScoreParams {
	w := s.Weight
	switch {
	case w == 0:
		w = 1
	case w < 0:
		w = 0
	}
	t := &pubsub.TopicScoreParams{
		TopicWeight:                    w,
		TimeInMeshWeight:               p.MeshTimeWeight,
		TimeInMeshQuantum:              time.Second,
		TimeInMeshCap:                  meshTimeCap,
		FirstMessageDeliveriesWeight:   p.FirstWeight,
		FirstMessageDeliveriesDecay:    decay(p.FirstDecay),
		FirstMessageDeliveriesCap:      p.FirstCap,
		MeshMessageDeliveriesDecay:     decay(deliveryDecay),
		MeshFailurePenaltyDecay:        decay(deliveryDecay),
		InvalidMessageDeliveriesWeight: p.InvalidWeight,
		InvalidMessageDeliveriesDecay:  decay(p.InvalidDecay),
	}
	if s.PerSecond > 0 {
		// The counter of a peer that brings r messages a second settles at
		// r/(1-decay).
		full := s.PerSecond / (1 - t.MeshMessageDeliveriesDecay)
		t.MeshMessageDeliveriesThreshold = deliveryShare * full
		t.MeshMessageDeliveriesCap = full
		// A peer that brings nothing at all ends at the graylist.
		t.MeshMessageDeliveriesWeight = p.GraylistThreshold / (t.MeshMessageDeliveriesThreshold * t.MeshMessageDeliveriesThreshold)
		t.MeshMessageDeliveriesWindow = deliveryWindow
		t.MeshMessageDeliveriesActivation = deliveryGrace
	}
	return t
}

func decay(d time.Duration) float64 { return pubsub.ScoreParameterDecay(d) }
