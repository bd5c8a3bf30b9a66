package dispatcher

import (
	"cmp"
	"maps"
	"slices"
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
	// Duplicate counts messages that no subscriber took, because they had
	// taken a copy before.
	Duplicate uint64
	// Unrouted counts messages for which there was no subscriber.
	Unrouted uint64
	// Dropped counts messages that no subscriber took, by reason.
	Dropped map[DropReason]uint64
	// Queued is how many messages wait in the inbox now.
	Queued int
	// Refused counts messages that were not received and stay with the
	// publisher: the context of the call ended, the dispatcher was stopped
	// while it waited, or TryPutMessage found a lossless type full. What
	// PutMessages had not begun with then is not counted.
	Refused uint64
	// Waiting is how many calls of PutMessage wait for space now.
	Waiting int
}

// DroppedTotal is the sum over all reasons.
func (t TypeStats) DroppedTotal() uint64 { return sum(t.Dropped) }

// SubscriberStats accounts for what one subscriber was offered. At every
// instant
//
//	Offered = Delivered + Queued + Duplicate + sum of Dropped
type SubscriberStats struct {
	// ID is as the subscriber gave it. In JSON, Name stands for it.
	ID any `json:"-"`
	// Name is the text of the ID, at most 64 characters, or what WithName says.
	Name   string `json:"ID"`
	Type   string
	Policy Policy
	// Offered counts messages that were its turn: taken, dropped or held back.
	Offered uint64
	// Delivered counts messages that reached it: put into its channel, yielded
	// to its loop, or passed to its function or its Deliver.
	Delivered uint64
	// Duplicate counts messages held back because it had taken a copy before.
	Duplicate uint64
	// Dropped counts messages that it lost, by reason.
	Dropped map[DropReason]uint64
	// Queued is how many messages wait in its own queue, those that its
	// workers hold included.
	Queued int
	// Backlog is how many messages wait for it in the inbox of its type.
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

// Stats returns what was done so far. The numbers of one type belong together;
// those of two types, or of a type and its subscribers, may be an instant apart.
func (d *Dispatcher) Stats() Stats {
	other := d.other.Load()
	s := Stats{
		Types:  make(map[string]TypeStats),
		Other:  TypeStats{Received: other, Unrouted: other},
		Panics: d.panics.Load(),
	}
	s.Total.add(s.Other)
	for _, t := range d.sorted() {
		ts, known := t.stats()
		if !known {
			continue
		}
		s.Types[t.name] = ts
		s.Total.add(ts)
	}
	for _, sub := range d.subscriptions() {
		s.Subscribers = append(s.Subscribers, sub.stats())
	}
	return s
}

// sorted are all topics, by name.
func (d *Dispatcher) sorted() []*topic {
	return slices.SortedFunc(maps.Values(*d.topics.Load()), func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
}

// stats also tells whether the type ever had a subscriber.
func (t *topic) stats() (TypeStats, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	drops := dropCounts{
		iQueueFull: t.counts[fateNotAdmitted], iSubscriberFull: t.counts[fateFull], iPanic: t.counts[fatePanic],
	}
	return TypeStats{
		Received:  t.received,
		Delivered: t.counts[fateDelivered],
		Duplicate: t.counts[fateDuplicate],
		Unrouted:  t.counts[fateUnrouted],
		Dropped:   drops.toMap(),
		Queued:    len(t.inbox) + t.pending,
		Refused:   t.refused,
		Waiting:   t.waiters.n,
	}, t.known
}

// backlog is how many messages wait for the subscription in the inbox.
func (t *topic) backlog(s *subscription) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return min(len(t.inbox)+t.pending, int(t.seq-s.from))
}

func (s *subscription) stats() SubscriberStats {
	c, waiting, delivered := s.snapshot()
	if s.keyed != nil {
		// Delivered by the intake is offered to what is behind it, or in the
		// hands of the key function.
		k, behind, out := s.keyed.snapshot()
		c.drops.add(k.drops)
		c.panics += k.panics
		c.duplicate += k.duplicate
		waiting += int(delivered-k.offered) + behind
		delivered = out
	}
	return SubscriberStats{
		ID: s.id, Name: s.label, Type: s.topic.name, Policy: s.policy,
		Offered: c.offered, Delivered: delivered, Duplicate: c.duplicate, Dropped: c.drops.toMap(),
		Queued: waiting, Backlog: s.topic.backlog(s), Panics: c.panics,
	}
}

// snapshot returns the counts with what waits, in the queue or in the hands of
// workers, and what was handed over.
func (s *subscription) snapshot() (c subCounts, waiting int, delivered uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delivered = s.out
	if !s.isCut() {
		delivered = s.handled.Load()
	}
	return s.counts, s.queue.n + int(s.out-delivered), delivered
}

// droppedBy is how many messages were lost for a reason.
func (s *subscription) droppedBy(reason dropIndex) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.counts.drops[reason])
}

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
