package dispatcher

import (
	"cmp"
	"slices"
)

// Stats returns what was done so far. The numbers of one type belong together;
// those of two types may be an instant apart.
func (d *Dispatcher) Stats() Stats {
	other := d.other.Load()
	s := Stats{
		Types:  make(map[string]TypeStats),
		Other:  TypeStats{Received: other, Unrouted: other},
		Panics: d.panics.Load(),
	}
	s.Total.add(s.Other)
	for _, r := range *d.roomList.Load() {
		t, subs, known := r.stats()
		if !known {
			continue
		}
		s.Types[r.name] = t
		s.Total.add(t)
		s.Subscribers = append(s.Subscribers, subs...)
	}
	slices.SortStableFunc(s.Subscribers, func(a, b SubscriberStats) int { return cmp.Compare(a.Type, b.Type) })
	return s
}

// stats also tells whether the type ever had a subscriber.
func (r *room) stats() (TypeStats, []SubscriberStats, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := TypeStats{
		Received:  r.received,
		Delivered: r.done.delivered,
		Duplicate: r.done.duplicate,
		Unrouted:  r.done.unrouted,
		Dropped:   r.done.drops.toMap(),
		Queued:    len(r.in.msgs) + r.backlog,
		Refused:   r.refused,
		Waiting:   len(r.waiters),
	}
	var subs []SubscriberStats
	for _, e := range r.entries {
		subs = append(subs, r.subStatsLocked(e))
	}
	return t, subs, r.known
}

func (r *room) subStatsLocked(e *entry) SubscriberStats {
	c := e.total
	l := e.sink.late()
	s := SubscriberStats{
		ID: e.id, Type: r.name, Policy: e.policy,
		Offered: c.offered, Duplicate: c.duplicate, Panics: c.panics + l.panics,
		Backlog: int(r.seq - e.joined - c.offered),
	}
	if l.known {
		s.Offered += l.taken - c.taken
		s.Delivered = l.handled
		s.Queued = int(l.taken - l.handled - l.drops.sum())
	} else {
		s.Delivered = c.taken - min(c.taken, l.drops.sum())
	}
	c.drops.add(l.drops)
	s.Dropped = c.drops.toMap()
	return s
}
