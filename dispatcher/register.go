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
	_, err := d.Enlist(subs...)
	return err
}

// Enlist is Register for a caller that keeps a list of its own: it returns, in
// order, what the subscribers are known by. They are asked once.
func (d *Dispatcher) Enlist(subs ...Subscriber) ([]Identity, error) {
	var (
		ids   []Identity
		added []*entry
		rooms []*room
		errs  []error
		done  bool
	)
	defer func() {
		if done {
			return
		}
		// Also when code of a subscriber has ended this goroutine.
		for i, e := range added {
			rooms[i].release(e)
		}
	}()
	for _, sub := range subs {
		e, r, err := d.prepare(sub)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ids, added, rooms = append(ids, Identity{e.id, r.name}), append(added, e), append(rooms, r)
	}
	if len(errs) == 0 {
		err := d.activate(added, rooms)
		if err == nil {
			done = true
			return ids, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// release gives up the identity of an entry that is not registered after all.
func (r *room) release(e *entry) {
	r.subs.CompareAndDelete(e.id, e)
	if e.undo != nil {
		e.undo()
	}
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
	done := false
	defer func() {
		if !done {
			r.release(e)
		}
	}()
	if err := d.ask(e.name, func() error { return d.connect(e, sub, room) }); err != nil {
		return nil, nil, &SubscriberError{e.id, typ, err}
	}
	done = true
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
		id, err := d.Identify(sub)
		if err == nil {
			err = d.Remove(id)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Remove is Deregister by what a subscriber is known by. It runs no code of the
// subscriber.
func (d *Dispatcher) Remove(id Identity) error {
	unknown := &SubscriberError{id.ID, id.Type, ErrNotRegistered}
	r := (*d.rooms.Load())[id.Type]
	if r == nil || !validID(id.ID) {
		return unknown
	}
	v, ok := r.subs.Load(id.ID)
	if !ok {
		return unknown
	}
	e := v.(*entry)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !r.leave(e) {
		return unknown
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
