package gossip

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
)

// Defaults of Topic's fields.
const (
	DefaultDeadline    = 10 * time.Second
	DefaultConcurrency = 64
	DefaultQueue       = 1024
	DefaultParkTime    = time.Minute

	maxTopicName = 512
)

// Topic declares a message type.
type Topic struct {
	// Type is the type's name. Required, at most 256 bytes.
	Type string
	// Name of the topic, at most 512 bytes. Default /<network>/<type>. Another
	// name joins this node to a network of others.
	Name string
	// Open topics are for members and foreigners alike.
	Open bool
	// MaxSize bounds the data in bytes, at most Config.MaxLargeSize. Larger messages
	// are rejected. Default Config.MaxMessageSize.
	MaxSize int
	// MaxPublish bounds the data of own messages. Default: MaxSize.
	MaxPublish int
	// Timed adds the time of publication to each message, 16 bytes, and fills the
	// histogram of the time to delivery. Of a topic whose Name is given, all that
	// take part must declare it alike.
	Timed bool

	// Validate judges a message. It may block until ctx ends, at the Deadline. A
	// panic counts as Ignore. Nil accepts everything. This node's own messages
	// are judged too, unless TrustOwn is set.
	Validate func(ctx context.Context, m Message) Verdict
	TrustOwn bool
	// Deadline bounds validation, and the wait for room, of one message. Default
	// 10 s.
	Deadline time.Duration
	// Concurrency is how many messages of the type are validated and delivered
	// at once, Queue how many more may wait. When that fills up, peers that bring
	// most are read from no more, for as long as a hundred messages a second are
	// taken, or 10 s; beyond it messages are turned away. Defaults 64 and 1,024.
	Concurrency, Queue int
	// ParkTime is how long a deferred message stays parked. Default 1 min.
	ParkTime time.Duration
	// ExplicitRelay delivers accepted messages and forwards them only when Relay
	// is called.
	ExplicitRelay bool

	// FormTimeout overrides Config.FormTimeout for this topic. Default: that, and
	// ForeignAfter on top of it for open topics, whose first peer may be a
	// foreigner.
	FormTimeout time.Duration

	// MessageID overrides Config.MessageID for this topic.
	MessageID idFunc
	Score     TopicScore
}

func defaultName(network, typ string) string { return "/" + network + "/" + typ }

func (t Topic) withDefaults(c *Config) Topic {
	set(&t.Name, defaultName(c.Network, t.Type))
	set(&t.MaxSize, c.MaxMessageSize)
	set(&t.MaxPublish, t.MaxSize)
	set(&t.Deadline, DefaultDeadline)
	set(&t.Concurrency, DefaultConcurrency)
	set(&t.Queue, DefaultQueue)
	set(&t.ParkTime, DefaultParkTime)
	if t.Open && c.FormTimeout > 0 {
		set(&t.FormTimeout, c.FormTimeout+c.ForeignAfter)
	}
	set(&t.FormTimeout, c.FormTimeout)
	if t.MessageID == nil {
		t.MessageID = c.MessageID
	}
	return t
}

// validate reports every mistake of a topic that has its defaults.
func (t Topic) validate(c *Config) error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{"Topic." + field, fmt.Sprintf(format, args...)})
	}
	if t.Type == "" || len(t.Type) > 256 {
		bad("Type", "want 1 to 256 bytes, have %d", len(t.Type))
	}
	if len(t.Name) > maxTopicName {
		bad("Name", "want at most %d bytes, have %d", maxTopicName, len(t.Name))
	}
	if t.MaxSize < 1 || t.MaxSize > c.MaxLargeSize {
		bad("MaxSize", "want 1 to %d, have %d", c.MaxLargeSize, t.MaxSize)
	}
	if t.MaxPublish < 1 || t.MaxPublish > t.MaxSize {
		bad("MaxPublish", "want 1 to MaxSize, have %d", t.MaxPublish)
	}
	if t.Deadline < 0 || t.ParkTime < 0 {
		bad("Deadline", "times may not be negative")
	}
	if t.Concurrency < 1 || t.Queue < 0 {
		bad("Concurrency", "want at least 1 and a Queue of at least 0")
	}
	return errors.Join(append(errs, t.Score.Validate())...)
}

// topic is a declared topic. What makes it another topic to the network is fixed;
// everything else is in its settings.
type topic struct {
	Type, Name  string
	Open, Timed bool
	stamps      bool   // messages may be stamped: the topic is not one of others
	id          idFunc // nil: that of the content
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
	Topic
	inline bool
}

func newTopic(spec Topic, e *Engine) *topic {
	t := &topic{
		Type: spec.Type, Name: spec.Name, Open: spec.Open, Timed: spec.Timed,
		stamps: spec.Timed || spec.Name == defaultName(e.cfg.Network, spec.Type),
		id:     spec.MessageID, wire: []byte(spec.Name), n: newCounters(e.cfg.Obs, spec.Type),
	}
	t.now.Store(e.settings(spec))
	return t
}

func (e *Engine) settings(spec Topic) *settings {
	return &settings{Topic: spec, inline: e.cfg.Identity == Unsigned && spec.Validate == nil}
}

func (t *topic) set() *settings { return t.now.Load() }

// same reports whether both are the same topic to the network.
func (t Topic) same(u *topic) bool {
	return t.Name == u.Name && t.Open == u.Open && t.Timed == u.Timed
}

// spec is what the router knows of the topic.
func (e *Engine) spec(s *settings) *router.TopicSpec {
	return &router.TopicSpec{
		Name: s.Name, Open: s.Open, Inline: s.inline,
		Concurrency: s.Concurrency, Queue: s.Queue, Deadline: s.Deadline, ParkTime: s.ParkTime,
		ExplicitRelay: s.ExplicitRelay, PeerWait: s.FormTimeout,
		Score: e.cfg.Params.topicScore(s.Score),
	}
}
