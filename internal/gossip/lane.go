package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// lane is one GossipSub router and its streams. There is one from the first type
// that needs it to the end of the engine. The main lane speaks the
// protocols that everybody knows; the bulk lane the same under names of its own,
// so that large messages have streams of their own.
type lane struct {
	e     *Engine
	name  string // "" or "bulk"
	limit int    // of a frame, in bytes

	ps     *pubsub.PubSub
	rt     *pubsub.GossipSubRouter
	ctx    context.Context
	cancel context.CancelFunc

	protocols []protocol.ID
	calls     *gate // stream handlers and openings
	streams   streams
	backlog   *backlog
	budget    *budget
	switching atomic.Int64  // topics that have no validator at the moment
	turn      chan struct{} // held by who has a batch under way

	wireIn, wireOut metrics.Counter
	sending         *sending // the loop's: what is being handed out now
	joined          int      // the loop's: topics
	tracker         *tracker
	grafts          grafts
}

const (
	bulkName  = "bulk"
	manySubs  = 5000 // subscriptions in one frame, which nobody honest sends
	unlimited = 1 << 30
)

// newLane starts a router. Its context ends with cancel.
func newLane(e *Engine, name string, size int) (*lane, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &lane{
		e: e, name: name, limit: size + wireOverhead,
		ctx: ctx, cancel: cancel,
		calls:   newGate(),
		streams: newStreams(),
		budget:  newBudget(),
		turn:    make(chan struct{}, 1),
		wireIn:  e.cfg.Obs.Counter(obs.GossipWireIn),
		wireOut: e.cfg.Obs.Counter(obs.GossipWireOut),
	}
	l.backlog = newBacklog(int64(max(e.cfg.PeerQueueBytes, 4*l.limit)))
	l.tracker, l.grafts = newTracker(), newGrafts()
	h := &gatedHost{Host: e.cfg.Host, l: l}
	l.rt = pubsub.DefaultGossipSubRouter(h)
	l.protocols = laneProtocols(e.cfg.Network, name)
	ps, err := pubsub.NewGossipSubWithRouter(ctx, h, l.rt, l.options()...)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("gossip: start router: %w", err)
	}
	l.ps = ps
	for _, d := range e.direct {
		if err := ps.AddDirectPeer(d); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// Protocols are the stream protocols that an engine takes of its host, whatever
// its network: two engines on one host would take each other's streams.
func Protocols() []protocol.ID { return slices.Clone(laneProtocols("", "")) }

// laneProtocols are the protocols of a lane, newest first.
func laneProtocols(network, name string) []protocol.ID {
	if name == "" {
		return pubsub.GossipSubDefaultProtocols
	}
	var ids []protocol.ID
	for _, id := range pubsub.GossipSubDefaultProtocols {
		if id != pubsub.FloodSubID {
			ids = append(ids, protocol.ID("/neb/"+network+"/"+name+string(id)))
		}
	}
	return ids
}

func (l *lane) options() []pubsub.Option {
	c := &l.e.cfg
	log := slog.New(logHandler{c.Obs})
	score, thresholds := c.Params.peerScore(c.AppScore, c.SeenTTL)
	opts := []pubsub.Option{
		l.rt.WithDefaultTagTracer(),
		pubsub.WithRawTracer(l),
		pubsub.WithLogger(log),
		pubsub.WithRPCLogger(log),
		pubsub.WithGossipSubParams(c.Params.router()),
		pubsub.WithGossipSubProtocols(l.protocols, l.feature),
		pubsub.WithPeerScore(score, thresholds),
		pubsub.WithPeerScoreInspect(l.scored, c.ScoreInterval),
		pubsub.WithFloodPublish(c.Params.FloodPublish),
		pubsub.WithMaxMessageSize(l.limit),
		// Receivers count what surrounds the data of messages as control, and
		// senders do not: an answer with thousands of small ones may hold more of
		// it than the default, and would end the stream.
		pubsub.WithMaxControlMessageSize(l.limit),
		pubsub.WithPeerOutboundQueueSize(c.PeerQueue),
		pubsub.WithValidateQueueSize(c.ValidateQueue),
		// Concurrency is bounded per type by the engine, which knows what to do
		// with a message that finds no slot; the router would lose it.
		pubsub.WithValidateThrottle(unlimited),
		pubsub.WithSeenMessagesTTL(c.SeenTTL),
		pubsub.WithPeerFilter(l.admits),
		pubsub.WithSubscriptionFilter(subscriptions{l}),
		pubsub.WithAppSpecificRpcInspector(l.inspect),
		pubsub.WithMessageIdFn(pubsubID(c.MessageID, false)),
	}
	if c.Identity == Unsigned {
		opts = append(opts,
			pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
			pubsub.WithNoAuthor())
	}
	return opts
}

// feature is the default feature table, for the lane's own names.
func (l *lane) feature(f pubsub.GossipSubFeature, id protocol.ID) bool {
	if l.name != "" {
		id = protocol.ID(strings.TrimPrefix(string(id), "/neb/"+l.e.cfg.Network+"/"+l.name))
	}
	return pubsub.GossipSubDefaultFeatures(f, id)
}

// admits is the router's peer filter: it decides on mesh, grafts, and gossip.
func (l *lane) admits(p peer.ID, name string) bool {
	t := l.e.byName(name)
	return t == nil || l.e.members.allows(p, t)
}

func (l *lane) scored(scores map[peer.ID]float64) {
	l.tracker.setScores(scores)
	if lanes := l.e.lanes(); len(lanes) > 0 && lanes[0] == l {
		l.e.scored(scores)
	}
}

// close ends the router. The channel it returns is closed when all stream
// handlers have returned.
func (l *lane) close() <-chan struct{} {
	for _, id := range l.protocols {
		l.e.cfg.Host.RemoveStreamHandler(id)
	}
	idle := l.calls.close()
	l.cancel()
	for _, s := range l.streams.close() {
		if s.out {
			_ = s.Stream.Close() // what was written to it arrives
		} else {
			_ = s.Stream.Reset()
		}
	}
	return idle
}

// now is here so that one glance shows that all time is the runtime's, which a
// test's bubble replaces.
func now() time.Time { return time.Now() }
