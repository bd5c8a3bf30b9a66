package dispatcher

import "fmt"

// Identity is what a subscriber is known by.
type Identity struct {
	ID   any
	Type string
}

// Identify asks a subscriber for its ID and its MessageType, once each. An
// error is a *SubscriberError.
func (d *Dispatcher) Identify(sub Subscriber) (id Identity, err error) {
	var asked Identity
	err = d.ask(fmt.Sprintf("identity of a %T", sub), func() error {
		if isNil(sub) {
			return ErrNilSubscriber
		}
		given := sub.ID()
		asked.Type = sub.MessageType()
		if !validID(given) {
			return ErrInvalidID
		}
		asked.ID = given
		return ValidType(asked.Type)
	})
	if err != nil {
		return Identity{}, &SubscriberError{asked.ID, asked.Type, err}
	}
	return asked, nil
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
