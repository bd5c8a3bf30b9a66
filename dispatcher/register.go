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
		added []*subscription // to be given up again, unless all are registered
		errs  []error
	)
	defer func() { // also when code of a subscriber has ended this goroutine
		for _, s := range added {
			s.release()
		}
	}()
	for _, sub := range subs {
		s, err := d.reserve(sub)
		if err == nil {
			added = append(added, s)
			err = s.prepare(sub)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := d.activate(added); err != nil {
		return err
	}
	added = nil
	return nil
}

// reserve takes the identity of a subscriber.
func (d *Dispatcher) reserve(sub Subscriber) (*subscription, error) {
	id, typ, err := d.identify(sub)
	if err != nil {
		return nil, err
	}
	t, err := d.topicFor(typ)
	if err != nil {
		return nil, &SubscriberError{id, typ, err}
	}
	s := &subscription{id: id, name: subName(id, typ), label: idText(id), topic: t, mark: new(mark)}
	if _, taken := t.subs.LoadOrStore(id, s); taken {
		return nil, &SubscriberError{id, typ, ErrDuplicateSubscriber}
	}
	return s, nil
}

// prepare asks a subscriber for all else there is to know about it. It runs user
// code, so no lock is held.
func (s *subscription) prepare(sub Subscriber) error {
	t := s.topic
	err := t.d.ask(s.name, func() error {
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
		return &SubscriberError{s.id, t.name, err}
	}
	s.begun = true
	return nil
}

// release gives up a subscription that is not registered after all.
func (s *subscription) release() {
	s.topic.subs.CompareAndDelete(s.id, s)
	s.topic.filter.leave(s.last().mark)
	if s.onRelease != nil {
		s.onRelease()
	}
	if s.begun {
		s.topic.end()
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
	if o := asOwn(sub); o != nil {
		return o.connect(s)
	}
	if b, ok := sub.(interface{ builtin() bool }); ok && b.builtin() {
		return fmt.Errorf("%w: %T embeds a subscriber whose policy that hides; keep it in a field and register it",
			ErrInvalidOption, sub)
	}
	o := newSubOptions([]SubscriberOption{WithPolicy(Lossless)})
	s.init(&o)
	deliver := func(msgs []Message) (n int) {
		if sub.Deliver(msgs[0]) {
			n = 1
		}
		return n
	}
	if b, ok := sub.(BatchSubscriber); ok {
		deliver, s.chunk = b.DeliverBatch, foreignBatch
	}
	s.consume = s.callForeign(deliver)
	return nil
}

// own is a subscriber of this package.
type own interface{ connect(*subscription) error }

// asOwn is nil for subscribers of other modules, those that embed one of ours included.
func asOwn(sub Subscriber) own {
	switch sub.(type) {
	case *ChanSubscriber, *Handler, *Subscription:
		return sub.(own)
	}
	return nil
}

// isNil finds the nil pointers of our own types; those of others panic when
// they are asked, or are meant.
func isNil(sub Subscriber) bool {
	return sub == nil || asOwn(sub) != nil && reflect.ValueOf(sub).IsNil()
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
