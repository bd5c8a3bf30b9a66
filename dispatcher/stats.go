package dispatcher

// DropReason says why a message was lost.
type DropReason string

// The reasons for which messages are lost.
const (
	// DropQueueFull: the queue of the message's type was full.
	DropQueueFull DropReason = "queue_full"
	// DropSubscriberFull: the subscriber had no room.
	DropSubscriberFull DropReason = "subscriber_full"
	// DropPanic: the subscriber's Deliver panicked.
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
	DropStopped DropReason = "stopped"
)

// Stats is what the dispatcher has done since it was made.
type Stats struct {
	// Total is the sum over all types.
	Total TypeStats
	// Types has an entry for every type that ever had a subscriber.
	Types map[string]TypeStats
	// Other is for messages of all types that never had a subscriber.
	Other TypeStats
	// Subscribers has an entry for every registered subscriber, sorted by type
	// and, within a type, in order of registration.
	Subscribers []SubscriberStats
	// Panics counts panics of subscriber code that were recovered.
	Panics uint64
}

// TypeStats accounts for the messages of one type. At every instant
//
//	Received = Delivered + Duplicate + Unrouted + sum of Dropped + Queued
type TypeStats struct {
	// Received counts messages that PutMessage took responsibility for.
	Received uint64
	// Delivered counts messages that at least one subscriber took.
	Delivered uint64
	// Duplicate counts messages that no subscriber took, because those that
	// would have had room had taken a copy before.
	Duplicate uint64
	// Unrouted counts messages for which there was no subscriber.
	Unrouted uint64
	// Dropped counts messages that no subscriber took, by reason.
	Dropped map[DropReason]uint64
	// Queued is how many messages wait to be handed over now, to all or some
	// of the subscribers.
	Queued int
	// Refused counts messages that were not received and stay with the
	// publisher: the context of the call ended, the dispatcher was stopped
	// while it waited, or TryPutMessage found a lossless type full. What
	// PutMessages had not begun with then is not counted.
	Refused uint64
	// Waiting is how many calls of PutMessage wait for room now.
	Waiting int
}

// DroppedTotal is the sum over all reasons.
func (t TypeStats) DroppedTotal() uint64 { return sum(t.Dropped) }

// SubscriberStats accounts for what one subscriber was offered. At every
// instant, messages being handed over apart,
//
//	Offered = Delivered + Queued + Duplicate + sum of Dropped
type SubscriberStats struct {
	ID     any
	Type   string
	Policy Policy
	// Offered counts messages that were its turn: taken, dropped or held back.
	Offered uint64
	// Delivered counts messages that reached it: put into its channel, taken
	// by its Deliver, or passed to its function.
	Delivered uint64
	// Duplicate counts messages held back because it had taken a copy before.
	Duplicate uint64
	// Dropped counts messages that it lost, by reason.
	Dropped map[DropReason]uint64
	// Queued is how many messages wait in its own queue, those that its
	// workers hold included.
	Queued int
	// Backlog is how many messages wait for it in the queue of its type.
	Backlog int
	// Panics counts panics of its code that were recovered.
	Panics uint64
}

// DroppedTotal is the sum over all reasons.
func (s SubscriberStats) DroppedTotal() uint64 { return sum(s.Dropped) }

func sum(m map[DropReason]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func (t *TypeStats) add(o TypeStats) {
	t.Received += o.Received
	t.Delivered += o.Delivered
	t.Duplicate += o.Duplicate
	t.Unrouted += o.Unrouted
	t.Queued += o.Queued
	t.Refused += o.Refused
	t.Waiting += o.Waiting
	if t.Dropped == nil {
		t.Dropped = make(map[DropReason]uint64)
	}
	for r, n := range o.Dropped {
		t.Dropped[r] += n
	}
}
