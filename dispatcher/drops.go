package dispatcher

// DropReason says why a message was lost.
type DropReason string

// The reasons for which messages are lost.
const (
	// DropQueueFull: the inbox of the message's type was full.
	DropQueueFull DropReason = "queue_full"
	// DropSubscriberFull: the subscriber had no space, or its Deliver refused the
	// message, or a message of a sender that held less of its queue took its place.
	DropSubscriberFull DropReason = "subscriber_full"
	// DropPanic: the subscriber's Deliver or key function panicked, or the owner
	// closed its channel.
	DropPanic DropReason = "panic"
	// DropOldestWaiting: a newer message took the place of the one that had
	// waited longest. Counted per subscriber only.
	DropOldestWaiting DropReason = "oldest"
	// DropReplaced: a newer message of the same key took its place. Counted
	// per subscriber only.
	DropReplaced DropReason = "replaced"
	// DropDeregistered: it was waiting for a subscriber that was deregistered.
	// Counted per subscriber only.
	DropDeregistered DropReason = "deregistered"
	// DropStopped: the dispatcher was stopped before it could be handed over.
	// Counted per subscriber only.
	DropStopped DropReason = "stopped"
)

// dropIndex is a DropReason as an index, for counting without a map.
type dropIndex uint8

const (
	iQueueFull dropIndex = iota
	iSubscriberFull
	iPanic
	iOldest
	iReplaced
	iDeregistered
	iStopped
	dropReasons
)

var dropNames = [dropReasons]DropReason{
	iQueueFull:      DropQueueFull,
	iSubscriberFull: DropSubscriberFull,
	iPanic:          DropPanic,
	iOldest:         DropOldestWaiting,
	iReplaced:       DropReplaced,
	iDeregistered:   DropDeregistered,
	iStopped:        DropStopped,
}

type dropCounts [dropReasons]uint64

func (c *dropCounts) add(o dropCounts) {
	for i := range c {
		c[i] += o[i]
	}
}

// toMap leaves out what is zero.
func (c *dropCounts) toMap() map[DropReason]uint64 {
	m := make(map[DropReason]uint64)
	for i, v := range c {
		if v > 0 {
			m[dropNames[i]] = v
		}
	}
	return m
}
