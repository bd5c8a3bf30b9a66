package dispatcher

import (
	"errors"
	"maps"
	"slices"
)

// Register adds subscribers. It adds all of them or, with an error that joins
// a *SubscriberError for each bad one, none. A subscriber gets the messages
// that are put after Register has returned.
//
// It may be called before Start; after Stop the error is ErrClosed.
func (d *Dispatcher) Register(subs ...Subscriber) error {
	var (
		added []*entry
		rooms []*room
		errs  []error
	)
	for _, sub := range subs {
		e, r, err := d.prepare(sub)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		added, rooms = append(added, e), append(rooms, r)
	}
	if len(errs) == 0 {
		if err := d.activate(added, rooms); err == nil {
			return nil
		} else {
			errs = append(errs, err)
		}
	}
	for i, e := range added {
		rooms[i].subs.CompareAndDelete(e.id, e)
		if e.undo != nil {
			e.undo()
		}
	}
	return errors.Join(errs...)
}

// prepare reserves a subscriber's identity and tells it where to signal. It
// runs user code, so no lock is held.
func (d *Dispatcher) prepare(sub Subscriber) (*entry, *room, error) {
	e, typ, err := d.newEntry(sub)
	if err != nil {
		return nil, nil, err
	}
	r, err := d.roomFor(typ)
	if err != nil {
		return nil, nil, &SubscriberError{e.id, typ, err}
	}
	if _, taken := r.subs.LoadOrStore(e.id, e); taken {
		return nil, nil, &SubscriberError{e.id, typ, ErrDuplicateSubscriber}
	}
	room := func() {
		e.signal.Store(true)
		r.wake()
	}
	if err := d.connect(e, sub, room); err != nil {
		r.subs.CompareAndDelete(e.id, e)
		return nil, nil, &SubscriberError{e.id, typ, err}
	}
	return e, r, nil
}

func (d *Dispatcher) roomFor(typ string) (*room, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := state(d.state.Load()); s == stateStopped {
		return nil, s.err()
	}
	if r := (*d.rooms.Load())[typ]; r != nil {
		return r, nil
	}
	r := &room{d: d, name: typ, seeds: newSeeds(), weight: 1}
	rooms := maps.Clone(*d.rooms.Load())
	rooms[typ] = r
	list := append(slices.Clone(*d.roomList.Load()), r)
	d.roomList.Store(&list)
	d.rooms.Store(&rooms)
	return r, nil
}

func (d *Dispatcher) activate(added []*entry, rooms []*room) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := state(d.state.Load()); s == stateStopped {
		return s.err()
	}
	for i, e := range added {
		if state(d.state.Load()) == stateRunning {
			e.sink.begin(d.ctx)
		}
		rooms[i].join(e)
	}
	return nil
}

// Deregister removes subscribers by identity: the argument may be another
// value with the same ID and MessageType. It removes those it finds; the error
// joins a *SubscriberError with ErrNotRegistered for every other.
//
// What the subscriber has not got yet is dropped and counted. Deregister does
// not wait for code of the subscriber that is running just then, and may be
// called from it.
func (d *Dispatcher) Deregister(subs ...Subscriber) error {
	var errs []error
	for _, sub := range subs {
		if err := d.remove(sub); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Dispatcher) remove(sub Subscriber) error {
	named, typ, err := d.newEntry(sub)
	if err != nil {
		return err
	}
	r := (*d.rooms.Load())[typ]
	if r == nil {
		return &SubscriberError{named.id, typ, ErrNotRegistered}
	}
	v, ok := r.subs.Load(named.id)
	if !ok {
		return &SubscriberError{named.id, typ, ErrNotRegistered}
	}
	e := v.(*entry)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !r.leave(e) {
		return &SubscriberError{named.id, typ, ErrNotRegistered}
	}
	r.subs.CompareAndDelete(e.id, e)
	now := state(d.state.Load())
	if now == stateNew {
		r.retireLeft(iDeregistered)
		return nil
	}
	if t, ok := e.sink.(tail); ok {
		d.rememberLocked(r, t, e.name)
		t.retire(iDeregistered)
	}
	r.wake() // the loop ends the others
	return nil
}
