package dispatcher

// MessageWeight is what a useful message of a type is worth when peers are
// compared by what they have sent. 0 means 1. A type has the largest weight of
// its subscribers, see Dispatcher.Weight. It has no influence on delivery.
type MessageWeight uint8

// Subscriber gets the messages of one type. Other modules may implement it.
//
// ID, MessageType, DoFilter and Weight are asked once, by Register. Deliver is
// called by a goroutine that the subscriber has for itself, never twice at the
// same time, with messages in the order in which they were put. They wait for
// it in a queue of DefaultQueue messages and DefaultQueueBytes, under the policy
// Lossless: while that is full, PutMessage of the type waits.
//
// A subscriber may be a BatchSubscriber too.
type Subscriber interface {
	// ID together with MessageType is the subscriber's identity: two
	// subscribers of the same type need different IDs. It must be comparable
	// and not nil.
	ID() any
	// MessageType is the type it wants; see ValidType.
	MessageType() string
	// DoFilter says that it does not want a message it has taken before.
	DoFilter() bool
	// Weight is the weight of its type; see MessageWeight.
	Weight() MessageWeight
	// Deliver hands over a message. It may block: the messages behind it wait,
	// and no other subscriber does until the queue is full. False says that it
	// did not take the message, which then is lost for this subscriber and
	// counted as DropSubscriberFull. A panic is recovered and counts as
	// DropPanic.
	Deliver(msg Message) bool
}

// BatchSubscriber is a Subscriber that takes many messages with one call.
type BatchSubscriber interface {
	Subscriber
	// DeliverBatch replaces Deliver under the same rules. It takes msgs[:n]
	// and returns n, which is less than len(msgs) if it did not take msgs[n];
	// what comes behind that is offered again. It must not keep msgs, only the
	// messages in it. After a panic all of msgs counts as dropped.
	DeliverBatch(msgs []Message) (n int)
}

// base is what the subscribers of this package have in common.
type base struct {
	id   any
	typ  string
	opts subOptions
}

func newBase(id any, msgType string, opts []SubscriberOption) base {
	return base{id, msgType, newSubOptions(opts)}
}

// ID implements Subscriber.
func (b *base) ID() any { return b.id }

// MessageType implements Subscriber.
func (b *base) MessageType() string { return b.typ }

// DoFilter implements Subscriber.
func (b *base) DoFilter() bool { return b.opts.filter }

// Weight implements Subscriber.
func (b *base) Weight() MessageWeight { return b.opts.weight }

func (b *base) builtin() bool { return true }
