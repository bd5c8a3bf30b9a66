package dispatcher

// MessageWeight is the share of a dispatch round that a message type gets
// while several types have a backlog: a type of weight 4 is handed over four
// messages for each one of a type of weight 1. 0 means 1. A type has the
// largest weight of its subscribers.
type MessageWeight uint8

// Subscriber gets the messages of one type. Other modules may implement it.
//
// ID, MessageType, DoFilter and Weight are asked once, by Register. Deliver is
// called by the dispatcher's loop, never twice at the same time, with messages
// in the order in which they were put.
//
// A subscriber may have these further abilities: RoomNotifier,
// BatchSubscriber.
type Subscriber interface {
	// ID together with MessageType is the subscriber's identity: two
	// subscribers of the same type need different IDs. It must be comparable
	// and not nil.
	ID() any
	// MessageType is the type it wants; see ValidType.
	MessageType() string
	// DoFilter says that it does not want a message it has taken before.
	DoFilter() bool
	// Weight is the share of its type; see MessageWeight.
	Weight() MessageWeight
	// Deliver hands over a message. It must not block: every other subscriber
	// waits for it. For the same reason it must not call PutMessage, which may
	// wait, but TryPutMessage. False says that it has no room and did not take
	// the message, which then is dropped and counted, unless the subscriber is
	// a RoomNotifier. A panic is recovered and counts as a drop.
	Deliver(msg Message) bool
}

// RoomNotifier is a Subscriber that must not lose messages. When its Deliver
// returns false, the dispatcher keeps the message, offers it again once the
// subscriber has called room, and meanwhile lets PutMessage of that type wait
// as soon as the type's queue is full.
type RoomNotifier interface {
	Subscriber
	// NotifyRoom gives the function to call when there is room again. It is
	// called by Register, before the first Deliver. room never blocks, may be
	// called at any time, from any goroutine, and too often; after a Deliver
	// that returned false it must be called at least once.
	NotifyRoom(room func())
}

// BatchSubscriber is a Subscriber that takes many messages with one call.
type BatchSubscriber interface {
	Subscriber
	// DeliverBatch replaces Deliver under the same rules. It takes msgs[:n]
	// and returns n, which is less than len(msgs) if it has no room for
	// msgs[n]. It must not keep msgs, only the messages in it. After a panic
	// all of msgs counts as dropped.
	DeliverBatch(msgs []Message) (n int)
}
