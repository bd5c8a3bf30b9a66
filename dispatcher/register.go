package dispatcher

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
)

// Register adds subscribers. It adds all of them or, with an error that joins
// a *SubscriberError for each bad one, none. A subscriber gets the messages
// that are put after Register has returned.
//
// It may be called before Start; after Stop the error is ErrClosed.
func (d *Dispatcher) Register(subs ...Subscriber) error {
	var (
		added []*subscription
		errs  []error
		done  bool
	)
	defer func() {
		if done {
			return
		}
		// Also when code of a subscriber has ended this goroutine.
		for _, s := range added {
			s.release()
		}
	}()
	for _, sub := range subs {
		s, err := d.prepare(sub)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		added = append(added, s)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := d.activate(added); err != nil {
		return err
	}
	done = true
	return nil
}

// prepare asks a subscriber for all there is to know about it and reserves its
// identity. It runs user code, so no lock is held.
func (d *Dispatcher) prepare(sub Subscriber) (*subscription, error) {
	id, typ, err := d.identify(sub)
	if err != nil {
		return nil, err
	}
	s := &subscription{id: id, name: subName(id, typ), label: idText(id), mark: new(mark)}
	bad := func(err error) (*subscription, error) { return nil, &SubscriberError{id, typ, err} }
	t, err := d.topicFor(typ)
	if err != nil {
		return bad(err)
	}
	s.topic = t
	if _, taken := t.subs.LoadOrStore(id, s); taken {
		return bad(ErrDuplicateSubscriber)
	}
	kept := false
	defer func() {
		if !kept { // also when code of the subscriber has ended this goroutine
			s.giveBack()
		}
	}()
	err = d.ask(s.name, func() error {
		s.weight, s.filters = max(sub.Weight(), 1), sub.DoFilter()
		if s.filters {
			s.mark = t.filter.join()
		}
		return s.connect(sub)
	})
	if err == nil {
		err = t.begin()
	}
	if err != nil {
		return bad(err)
	}
	kept = true
	return s, nil
}

// release gives up a subscription that was prepared and is not registered after
// all.
func (s *subscription) release() {
	s.giveBack()
	s.topic.end()
}

func (s *subscription) giveBack() {
	s.topic.subs.CompareAndDelete(s.id, s)
	s.topic.filter.leave(s.last().mark)
	if s.onRelease != nil {
		s.onRelease()
	}
}

func (d *Dispatcher) topicFor(typ string) (*topic, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := state(d.state.Load()); s == stateStopped {
		return nil, s.err()
	}
	old := *d.topics.Load()
	if t := old[typ]; t != nil {
		return t, nil
	}
	t := newTopic(d, typ)
	topics := maps.Clone(old)
	topics[typ] = t
	d.topics.Store(&topics)
	return t, nil
}

func (d *Dispatcher) activate(added []*subscription) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := state(d.state.Load())
	if now == stateStopped {
		return now.err()
	}
	for _, s := range added {
		s.open() // before there are workers: one that finds it closed ends
		if now == stateRunning {
			s.startWorkers()
		}
		s.topic.join(s)
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
		id, typ, err := d.identify(sub)
		if err == nil {
			err = d.remove(id, typ)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Dispatcher) remove(id any, typ string) error {
	unknown := &SubscriberError{id, typ, ErrNotRegistered}
	t := (*d.topics.Load())[typ]
	if t == nil {
		return unknown
	}
	v, ok := t.subs.Load(id)
	if !ok {
		return unknown
	}
	s := v.(*subscription)
	d.mu.Lock()
	if !t.leave(s) {
		d.mu.Unlock()
		return unknown
	}
	s.cutAll(iDeregistered)
	t.filter.leave(s.last().mark)
	t.subs.CompareAndDelete(id, s)
	d.rememberLocked(s)
	d.mu.Unlock()
	t.end()
	return nil
}

// identify asks a subscriber for its ID and its MessageType, once each. An
// error is a *SubscriberError.
func (d *Dispatcher) identify(sub Subscriber) (id any, typ string, err error) {
	err = d.ask(fmt.Sprintf("identity of a %T", sub), func() error {
		if isNil(sub) {
			return ErrNilSubscriber
		}
		given := sub.ID()
		typ = sub.MessageType()
		if !validID(given) {
			return ErrInvalidID
		}
		id = given
		return ValidType(typ)
	})
	if err != nil {
		return nil, "", &SubscriberError{id, typ, err}
	}
	return id, typ, nil
}

// ask runs code of a subscriber that is being registered or deregistered. Its
// panic is counted, logged and returned as ErrSubscriberPanic.
func (d *Dispatcher) ask(name string, code func() error) (err error) {
	returned := false
	defer func() {
		if !returned {
			p := recover()
			d.panicked(name, p)
			err = fmt.Errorf("%w: %v", ErrSubscriberPanic, p)
		}
	}()
	err = code()
	returned = true
	return err
}

// connect gives a subscription what its kind of subscriber needs. It runs user
// code.
func (s *subscription) connect(sub Subscriber) error {
	switch sub := sub.(type) {
	case *ChanSubscriber:
		return sub.connect(s)
	case *Handler:
		return sub.connect(s)
	case *Subscription:
		return sub.connect(s)
	}
	if b, ok := sub.(interface{ builtin() bool }); ok && b.builtin() {
		return fmt.Errorf("%w: %T embeds a subscriber whose policy that hides; keep it in a field and register it",
			ErrInvalidOption, sub)
	}
	o := newSubOptions([]SubscriberOption{WithPolicy(Lossless)})
	s.init(&o)
	s.consume = s.callDeliver(sub)
	if b, ok := sub.(BatchSubscriber); ok {
		s.chunk = foreignBatch
		s.consume = s.callDeliverBatch(b)
	}
	return nil
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

// validID tells whether an ID can be a key: the dynamic type may hold what
// panics when compared.
func validID(id any) bool { return id != nil && reflect.ValueOf(id).Comparable() }

// subName has the address of an ID that is a pointer, to tell it from others.
func subName(id any, typ string) string {
	if reflect.ValueOf(id).Kind() == reflect.Pointer {
		return fmt.Sprintf("%s(%p)/%s", idText(id), id, typ)
	}
	return idText(id) + "/" + typ
}
