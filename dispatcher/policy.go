package dispatcher

import (
	"fmt"
	"slices"
)

// Policy says what a subscriber does with a message for which it has no space.
type Policy uint8

const (
	// DropNewest drops the message that finds no space, or the newest one of the
	// sender that holds the most of the queue, if that holds more. The default.
	DropNewest Policy = iota
	// DropOldest drops the message that has waited longest of those of the
	// sender that holds the most of the queue.
	DropOldest
	// NewestPerKey keeps, of messages with the same key, only the newest that
	// is still waiting, in the place of the older one. Of more keys than there
	// is space for, it drops the one that has waited longest. Needs WithKey.
	NewestPerKey
	// Lossless drops nothing: PutMessage of that type waits for a place.
	Lossless
)

var policyNames = [...]string{
	DropNewest:   "drop-newest",
	DropOldest:   "drop-oldest",
	NewestPerKey: "newest-per-key",
	Lossless:     "lossless",
}

// MarshalText returns the policy's name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes a policy's name.
func (p *Policy) UnmarshalText(text []byte) error {
	i := slices.Index(policyNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%w: unknown policy %.40q", ErrInvalidOption, text)
	}
	*p = Policy(i)
	return nil
}

// evicts tells whether what was taken may be dropped for something newer.
func (p Policy) evicts() bool { return p == DropOldest || p == NewestPerKey }

// String returns the policy's name.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// Defaults of subscriber options.
const (
	DefaultQueue      = 4096     // messages that wait in a subscriber's own queue
	DefaultQueueBytes = 64 << 20 // bytes of payload that wait there
	// MaxWorkers is the most goroutines of one handler.
	MaxWorkers = 1024
)

// SubscriberOption sets how a channel-backed subscriber, a handler or a
// subscription behaves.
type SubscriberOption func(*subOptions)

type subOptions struct {
	policy     Policy
	key        func(Message) string
	queue      int
	queueBytes int
	name       string
	workers    int
	filter     bool
	weight     MessageWeight
	closeChan  bool
}

func newSubOptions(opts []SubscriberOption) subOptions {
	o := subOptions{queue: DefaultQueue, queueBytes: DefaultQueueBytes, workers: 1}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

func (o *subOptions) check() error {
	switch {
	case o.policy > Lossless:
		return fmt.Errorf("%w: unknown policy %d", ErrInvalidOption, o.policy)
	case o.policy == NewestPerKey && o.key == nil:
		return fmt.Errorf("%w: NewestPerKey needs WithKey", ErrInvalidOption)
	case o.queue < 1:
		return fmt.Errorf("%w: queue of %d messages", ErrInvalidOption, o.queue)
	case o.queueBytes < 1:
		return fmt.Errorf("%w: queue of %d bytes", ErrInvalidOption, o.queueBytes)
	case o.workers < 1 || o.workers > MaxWorkers:
		return fmt.Errorf("%w: %d workers, want 1 to %d", ErrInvalidOption, o.workers, MaxWorkers)
	}
	return nil
}

// WithPolicy sets the policy. NewestPerKey needs WithKey too.
func WithPolicy(p Policy) SubscriberOption { return func(o *subOptions) { o.policy = p } }

// WithKey sets the policy NewestPerKey with the key of a message. key is
// called by a goroutine of the subscription's own, one message at a time. Up to
// DefaultQueue messages (or WithQueue, if that is more) wait for it; beyond that
// the oldest is dropped.
func WithKey(key func(Message) string) SubscriberOption {
	return func(o *subOptions) { o.policy, o.key = NewestPerKey, key }
}

// WithName sets how the subscriber is called in Stats, in place of the text of
// its ID: useful where that is a pointer.
func WithName(name string) SubscriberOption { return func(o *subOptions) { o.name = name } }

// WithQueue sets how many messages may wait in the subscriber's own queue,
// besides those its workers hold: at least 1, DefaultQueue by default. It has
// no meaning for a channel-backed subscriber that drops: its queue is the
// channel.
func WithQueue(messages int) SubscriberOption { return func(o *subOptions) { o.queue = messages } }

// WithQueueBytes sets how many bytes of payload may wait in that queue,
// DefaultQueueBytes by default. A single message always fits.
func WithQueueBytes(bytes int) SubscriberOption {
	return func(o *subOptions) { o.queueBytes = bytes }
}

// WithWorkers sets how many goroutines run a handler: 1 to MaxWorkers, 1 by
// default. With more than one, messages are begun in order but may be
// finished in any.
func WithWorkers(n int) SubscriberOption { return func(o *subOptions) { o.workers = n } }

// WithFilter sets DoFilter of a handler or a subscription, false by default.
func WithFilter(on bool) SubscriberOption { return func(o *subOptions) { o.filter = on } }

// WithWeight sets Weight of a handler or a subscription.
func WithWeight(w MessageWeight) SubscriberOption { return func(o *subOptions) { o.weight = w } }

// WithCloseChannel makes the dispatcher close the channel of a channel-backed
// subscriber once it is deregistered or the dispatcher has stopped, so that a
// range over it ends. Nobody else may send on or close such a channel.
func WithCloseChannel() SubscriberOption { return func(o *subOptions) { o.closeChan = true } }
