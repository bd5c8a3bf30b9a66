package dispatcher

import (
	"fmt"
	"reflect"
	"sync/atomic"
)

// entry is one registered subscriber.
type entry struct {
	id       any
	name     string // ID/type, for logs and errors
	weight   int
	doFilter bool
	policy   Policy
	sink     sink
	undo     func() // when it is not registered after all; may be nil
	keyed    bool   // its sink runs a key function
	evicts   bool   // the filter has to forget what the sink evicted

	signal atomic.Bool // there may be room again, for the loop to see

	// Set when it joins its room, then constant.
	group int     // which filter of the room
	bit   uint64  // its bit there; 0 without filter
	flt   *filter // the loop's

	// The loop's.
	next    uint64 // position of the message to offer next
	parked  bool   // lossless, and had no room for that one
	stepped bool   // has had its turn in this round, with another
	taken   int    // by the offer under way
	round   entryCounts

	// Guarded by the room's mu.
	joined uint64 // position of its first message
	total  entryCounts
}

type entryCounts struct {
	offered, taken, duplicate, panics uint64
	drops                             dropCounts
}

func (c *entryCounts) add(o *entryCounts) {
	c.offered += o.offered
	c.taken += o.taken
	c.duplicate += o.duplicate
	c.panics += o.panics
	c.drops.add(o.drops)
}

func (e *entry) lossless() bool { return e.policy == Lossless }

// newEntry asks a subscriber for all there is to know about it. It runs user
// code.
func (d *Dispatcher) newEntry(sub Subscriber) (*entry, string, error) {
	e := &entry{}
	id, err := d.Identify(sub)
	if err != nil {
		return nil, "", err
	}
	e.id, e.name = id.ID, subName(id.ID, id.Type)
	err = d.ask(e.name, func() error {
		e.weight = int(max(sub.Weight(), 1))
		e.doFilter = sub.DoFilter()
		return nil
	})
	if err != nil {
		return nil, "", &SubscriberError{id.ID, id.Type, err}
	}
	return e, id.Type, nil
}

// isNil finds the nil pointers of our own types; those of others panic when
// they are asked, or are meant.
func isNil(sub Subscriber) bool {
	switch s := sub.(type) {
	case nil:
		return true
	case *ChanSubscriber:
		return s == nil
	case *Handler:
		return s == nil
	case *Subscription:
		return s == nil
	}
	return false
}

// connect gives the entry its sink. room is what the sink calls when it has
// room again. It runs user code.
func (d *Dispatcher) connect(e *entry, sub Subscriber, room func()) error {
	switch s := sub.(type) {
	case *ChanSubscriber:
		if err := s.check(); err != nil {
			return err
		}
		e.policy, e.sink = s.opts.policy, s.sink(d, room)
	case *Handler:
		if err := s.check(); err != nil {
			return err
		}
		e.policy, e.sink = s.opts.policy, s.sink(d, room)
	case *Subscription:
		if err := s.check(); err != nil {
			return err
		}
		e.policy, e.sink = s.opts.policy, s.sink(room)
		run := e.sink.(*subscriptionRun)
		e.undo = func() { s.run.CompareAndSwap(run, nil) }
		if !s.run.CompareAndSwap(nil, run) {
			return fmt.Errorf("%w: a Subscription can be registered once", ErrDuplicateSubscriber)
		}
	default:
		if b, ok := sub.(interface{ builtin() bool }); ok && b.builtin() {
			return fmt.Errorf("%w: %T embeds a subscriber whose policy that hides; keep it in a field and register it",
				ErrInvalidOption, sub)
		}
		plain := plainSink{sub, e, &d.turn}
		e.sink = plain
		if b, ok := sub.(BatchSubscriber); ok {
			e.sink = batchSink{plain, b}
		}
		if n, ok := sub.(RoomNotifier); ok {
			e.policy = Lossless
			n.NotifyRoom(room)
			return nil
		}
	}
	e.keyed = e.policy == NewestPerKey
	e.evicts = e.doFilter && e.policy.evicts()
	return nil
}

// subName has the address of an ID that is a pointer, to tell it from others.
func subName(id any, typ string) string {
	if reflect.ValueOf(id).Kind() == reflect.Pointer {
		return fmt.Sprintf("%s(%p)/%s", idText(id), id, typ)
	}
	return idText(id) + "/" + typ
}
