package netservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/session"
)

// Priority is the class of a message type on the streams between two peers.
// Classes share a connection by weight (high 16, normal 4, low 1): lower ones
// are slowed, never starved.
type Priority = session.Priority

// The priorities. The zero value means PriorityNormal.
const (
	PriorityHigh   = session.PriorityHigh
	PriorityNormal = session.PriorityNormal
	PriorityLow    = session.PriorityLow
)

// Compression is how frames above 1 KiB are compressed on the streams between
// two peers, where that makes them smaller. For CompressS2, samples of a message
// above 128 KiB decide whether it is tried at all. The zero value means
// CompressS2.
type Compression = session.Compression

// The compressions. A receiver understands all of them.
const (
	CompressS2   = session.CompressS2
	CompressZstd = session.CompressZstd
	CompressNone = session.CompressNone
)

// MessageSpec declares a message type. Only Name is required.
type MessageSpec struct {
	// Name is the type on the wire: 1 to 64 letters, digits, dots, dashes and
	// underscores.
	Name string
	// MaxSize bounds a payload in bytes, sent and received, at most 1 GiB.
	// Broadcasts are bounded by 1 MiB as well, unless the type sets MaxSize above
	// that: then it has gossip streams of its own, so that its messages do not
	// hold up others, and its broadcasts are bounded by Config.MaxMessageSize or
	// 8 MiB, whichever is more. All nodes must agree on that. Types with an open
	// topic have no streams of their own: others know nothing of those. There,
	// what is above 1 MiB less 1 KiB is broadcast only if MaxSize is set:
	// go-libp2p-pubsub with its defaults ends the stream on which it comes.
	// Default: Config.MaxMessageSize.
	MaxSize int
	// Priority is the default priority of its messages.
	// Default: PriorityNormal.
	Priority Priority
	// Compression of its frames. Default: CompressS2.
	Compression Compression
	// QueueBytes bounds what waits of this type for one peer. Default: 4 MiB,
	// or one message of MaxSize where that is more.
	QueueBytes int
	// NoBroadcast keeps the type out of gossip: it is sent to chosen peers only,
	// and Broadcast and Relay return ErrNoBroadcast. A node all of whose types are
	// declared so takes no part in gossip, which saves it some 9 KiB and three
	// goroutines for each peer (BenchmarkIdlePeers). All nodes should declare it
	// alike.
	NoBroadcast bool
	// Gossip is about Broadcast and Relay. The zero value is fine.
	Gossip GossipSpec

	// sized tells that MaxSize was set, and is no default.
	sized bool
}

// GossipSpec says how messages of a type are broadcast.
type GossipSpec struct {
	// Topic is the GossipSub topic, at most 512 bytes. Another name than the
	// default joins a network of others. Default: /<network ID>/<type>.
	Topic string
	// Open lets nodes without a handshake take part, such as those of another
	// implementation or another chain. Connections to such nodes are then kept.
	// They take part ten seconds after they connected: until then they might
	// still turn out to be peers.
	Open bool
	// ExplicitRelay delivers messages at once and passes them on only when
	// Relay is called, so that the application can validate at leisure.
	ExplicitRelay bool
	// WaitWhenFull lets a message wait, at most Deadline, for room with a
	// lossless subscriber that is full. Otherwise it is turned away at once, and
	// taken when it comes again from another peer.
	WaitWhenFull bool
	// Timed adds the time of publication, 8 bytes, to each message, to measure
	// the time to delivery, see GossipTypeStats.Delay. All nodes must declare it
	// alike.
	Timed bool
	// Bulk gives the type gossip streams of its own even if it is not large, so
	// that its messages do not hold up others. All nodes must agree on that. It
	// cannot be Open.
	Bulk bool
	// Deadline bounds the validation of one message. Default: 10 s.
	Deadline time.Duration
	// Concurrency is how many messages are validated at once. Default: 64.
	Concurrency int
	// ParkTime is how long a deferred message waits for Resume. Default: 1 min.
	ParkTime time.Duration
	// PeerWait is how long a broadcast waits for the first peer that takes
	// part; then it is dropped, and counted as unsent. Default: 10 s, or 20 s for
	// open topics. Negative: Broadcast returns ErrNoPeers instead.
	PeerWait time.Duration
	// Score says what the type counts in the scores of peers.
	Score TopicScore
}

// TopicScore says what a type counts in the scores of peers.
type TopicScore = gossip.TopicScore

// Validator judges a message that came by gossip, before it is delivered and
// passed on. It may block until ctx ends, and is called from several goroutines.
// A panic counts as Ignore.
type Validator func(ctx context.Context, m dispatcher.Message) Verdict

// Verdict is what a Validator decides. The zero value is Ignore.
type Verdict = gossip.Verdict

// Accept delivers the message and passes it on.
func Accept() Verdict { return gossip.Accept() }

// Ignore drops the message and blames nobody.
func Ignore() Verdict { return gossip.Ignore() }

// Reject drops the message and lowers the score of every peer that sent it.
func Reject() Verdict { return gossip.Reject() }

// Defer parks the message until NebService.Resume is called with the same key,
// such as the hash of a missing parent block; then it is judged again. How many
// messages are parked, and for how long, is bounded.
func Defer(key string) Verdict { return gossip.Defer(key) }

// typeTable knows the message types of a service: what was declared of them,
// and how many subscribers want them.
type typeTable struct {
	maxSize int
	states  sync.Map // name → *typeState, for the paths of every message
	open    atomic.Int32

	mu   sync.Mutex // guards what follows and all changes of states
	wire *wire      // nil until the node has started
}

// typeState is one message type. It is replaced as a whole, but for the number
// of subscribers.
type typeState struct {
	spec        MessageSpec
	asked       MessageSpec // as declared, without defaults; zero for first use
	validator   Validator
	explicit    bool // declared by the program, not by first use
	subscribers int  // guarded by the table
}

// bulk types have gossip streams of their own. Open ones have not: foreigners
// know nothing of those.
func (s *typeState) bulk() bool {
	large := s.spec.sized && s.spec.MaxSize > gossip.DefaultMaxMessageSize
	return (large || s.spec.Gossip.Bulk) && !s.spec.Gossip.Open
}

// gossipSize bounds a broadcast payload, received and sent.
func (s *typeState) gossipSize(maxBulk int) (in, out int) {
	if s.bulk() {
		n := min(s.spec.MaxSize, maxBulk)
		return n, n
	}
	in = min(s.spec.MaxSize, gossip.DefaultMaxMessageSize)
	if s.spec.Gossip.Open && !s.spec.sized {
		return in, min(in, gossip.FrameOfOthers)
	}
	return in, in
}

func newTypeTable(maxSize int) *typeTable { return &typeTable{maxSize: maxSize} }

func (t *typeTable) lookup(name string) *typeState {
	if v, ok := t.states.Load(name); ok {
		return v.(*typeState)
	}
	return nil
}

// check fills in the defaults of a declaration and finds its mistakes.
func (t *typeTable) check(spec *MessageSpec) error {
	if err := dispatcher.ValidType(spec.Name); err != nil {
		return err
	}
	asked := spec.MaxSize
	spec.sized = asked != 0
	setDefault(&spec.MaxSize, t.maxSize)
	setDefault(&spec.Priority, PriorityNormal)
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: spec.Name + "." + field, Err: fmt.Errorf(format, args...)})
	}
	if spec.MaxSize < 1 || spec.MaxSize > session.MaxMessageSize {
		bad("MaxSize", "is %d, must be 1 to %d", asked, session.MaxMessageSize)
	}
	if spec.QueueBytes < 0 {
		bad("QueueBytes", "is %d", spec.QueueBytes)
	}
	if spec.Priority > PriorityLow || spec.Compression > CompressNone {
		bad("Priority", "or Compression is unknown")
	}
	if g := spec.Gossip; len(g.Topic) > 512 || g.Deadline < 0 || g.ParkTime < 0 || g.Concurrency < 0 {
		bad("Gossip", "has a topic of more than 512 bytes, or a negative number")
	}
	if spec.Gossip.Bulk && spec.Gossip.Open {
		bad("Gossip", "is Bulk and Open: others know nothing of the streams of bulk types")
	}
	if spec.NoBroadcast && spec.Gossip != (GossipSpec{}) {
		bad("Gossip", "is set for a type with NoBroadcast")
	}
	if err := spec.Gossip.Score.Validate(); err != nil {
		bad("Gossip", "%w", err)
	}
	return errors.Join(errs...)
}

func (t *typeTable) declare(spec MessageSpec) error {
	asked := spec
	if s := t.lookup(spec.Name); s != nil && s.asked == asked {
		return nil // the common case, on the path of every typed message
	}
	if err := t.check(&spec); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if other := t.onTopicLocked(spec); other != "" {
		return fmt.Errorf("%w: topic %q of %s is that of %s", ErrConflict, spec.Gossip.Topic, spec.Name, other)
	}
	old := t.lookup(spec.Name)
	switch {
	case old == nil:
		return t.storeLocked(&typeState{spec: spec, asked: asked, explicit: true})
	case old.explicit && old.spec == spec:
		return nil
	case old.explicit:
		return fmt.Errorf("%w: %s", ErrConflict, spec.Name)
	}
	return t.storeLocked(&typeState{spec: spec, asked: asked, explicit: true, validator: old.validator, subscribers: old.subscribers})
}

// onTopicLocked finds another type that names the same topic.
func (t *typeTable) onTopicLocked(spec MessageSpec) (name string) {
	if spec.Gossip.Topic == "" {
		return ""
	}
	t.states.Range(func(_, v any) bool {
		if s := v.(*typeState); s.spec.Name != spec.Name && s.spec.Gossip.Topic == spec.Gossip.Topic {
			name = s.spec.Name
		}
		return name == ""
	})
	return name
}

// validate sets the validator of a type.
func (t *typeTable) validate(name string, v Validator) error {
	if _, err := t.use(name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.lookup(name)
	if old.spec.NoBroadcast {
		return fmt.Errorf("%w: %s", ErrNoBroadcast, name)
	}
	return t.storeLocked(&typeState{spec: old.spec, asked: old.asked, explicit: old.explicit, validator: v, subscribers: old.subscribers})
}

// use makes sure that a type exists, with defaults when it was never declared.
func (t *typeTable) use(name string) (*typeState, error) {
	if s := t.lookup(name); s != nil {
		return s, nil
	}
	spec := MessageSpec{Name: name}
	if err := t.check(&spec); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.lookup(name); s != nil {
		return s, nil
	}
	if err := t.storeLocked(&typeState{spec: spec}); err != nil {
		return nil, err
	}
	return t.lookup(name), nil
}

// storeLocked puts a state into the table and, once there is one, on the wire.
func (t *typeTable) storeLocked(s *typeState) error {
	if t.wire != nil {
		if err := t.wire.declare(s); err != nil {
			return err
		}
		if s.subscribers > 0 {
			if err := t.wire.accept(s); err != nil {
				return err
			}
		}
	}
	if old := t.lookup(s.spec.Name); old != nil && old.spec.Gossip.Open {
		t.open.Add(-1)
	}
	if s.spec.Gossip.Open {
		t.open.Add(1)
	}
	t.states.Store(s.spec.Name, s)
	return nil
}

// subscribe counts a subscriber; with the first one peers may send the type.
func (t *typeTable) subscribe(name string) error {
	if _, err := t.use(name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.lookup(name)
	if s.subscribers == 0 && t.wire != nil {
		if err := t.wire.accept(s); err != nil {
			return err
		}
	}
	s.subscribers++
	return nil
}

// unsubscribe undoes subscribe; with the last one peers may no longer send it.
func (t *typeTable) unsubscribe(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.lookup(name)
	if s == nil || s.subscribers == 0 {
		return
	}
	if s.subscribers--; s.subscribers == 0 && t.wire != nil {
		t.wire.refuse(name)
	}
}

// attach puts all that is known on the wire, and every change from then on.
func (t *typeTable) attach(w *wire) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wire = w
	var err error
	t.states.Range(func(_, v any) bool {
		s := v.(*typeState)
		if err = w.declare(s); err == nil && s.subscribers > 0 {
			err = w.accept(s)
		}
		return err == nil
	})
	return err
}

// settle waits until no declaration is being replaced.
func (t *typeTable) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
}

// hasOpen tells whether nodes without a handshake may take part in some type.
func (t *typeTable) hasOpen() bool { return t.open.Load() > 0 }
