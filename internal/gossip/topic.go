package gossip

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// Validator decides about a message of a peer. It may block until ctx ends, at the type's
// Broadcast.Deadline. A panic counts as Ignore.
type Validator func(ctx context.Context, m Message) Verdict

// topic is a declared topic. What makes it another topic to the network is fixed;
// everything else is in its settings.
type topic struct {
	Type, Name  string
	Open, Timed bool
	stamps      bool   // messages may be stamped: the topic is not one of others
	wire        []byte // Name, as messages carry it

	now     atomic.Pointer[settings]
	n       counters
	running atomic.Int64 // in user code

	// Guarded by Engine.mu.
	own         ownCounts
	exported    router.Counts // what n has been told of
	ownExported ownCounts
}

// ownCounts are what the router does not count.
type ownCounts struct {
	bytesIn, bytesOut int64
	held              int64 // own messages that waited for a full queue
}

// settings are replaced as a whole.
type settings struct {
	msgtype.Broadcast
	validate Validator // nil accepts everything
}

// defaultName is that of a topic whose Broadcast.Topic is empty.
func (e *Engine) defaultName(typ string) string { return "/" + e.cfg.Network + "/" + typ }

// checked is a spec with its defaults, if it can be used.
func (e *Engine) checked(spec msgtype.Spec) (msgtype.Spec, error) {
	spec = spec.WithDefaults()
	if err := spec.Validate(); err != nil {
		return spec, err
	}
	spec.Broadcast.Topic = cmp.Or(spec.Broadcast.Topic, e.defaultName(spec.Name))
	if most := spec.Broadcast.MaxSize; most > e.cfg.MaxLargeSize {
		return spec, fmt.Errorf("broadcasts of %s: want at most %d bytes, have %d", spec.Name, e.cfg.MaxLargeSize, most)
	}
	return spec, nil
}

func (e *Engine) newTopic(typ string, now *settings) *topic {
	t := &topic{
		Type: typ, Name: now.Topic, Open: now.Open, Timed: now.Timed,
		stamps: now.Timed || now.Topic == e.defaultName(typ),
		wire:   []byte(now.Topic), n: newCounters(e.cfg.Obs, typ),
	}
	t.now.Store(now)
	return t
}

func (t *topic) set() *settings { return t.now.Load() }

// is reports whether what b says is the same topic to the network.
func (t *topic) is(b *msgtype.Broadcast) bool {
	return t.Name == b.Topic && t.Open == b.Open && t.Timed == b.Timed
}

// spec is what the router knows of the topic.
func (e *Engine) spec(s *settings) *router.TopicSpec {
	return &router.TopicSpec{
		Name: s.Topic, Open: s.Open, Inline: s.validate == nil,
		Concurrency: s.Concurrency, Queue: e.cfg.Queue, Deadline: s.Deadline, ParkTime: s.ParkTime,
		ExplicitRelay: s.ExplicitRelay, PeerWait: s.PeerWait,
		Score: e.cfg.Params.topicScore(s.Score),
	}
}
