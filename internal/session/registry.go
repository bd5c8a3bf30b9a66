package session

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// registry is what this node offers: its message types, and whatever else its
// owner offers. Readers take no lock.
type registry struct {
	types  atomic.Pointer[map[string]*messageType] // those that are declared; replaced as a whole
	offers atomic.Pointer[offerLog]
	// byNumber are all message types there ever were, by their number less 1; nil
	// where another kind has the number.
	byNumber atomic.Pointer[[]*messageType]

	// Guarded by the engine's lock.
	numbers map[offered]uint32 // of all that was ever offered
}

type offered struct {
	kind Kind
	name string
}

func (r *registry) init() {
	r.types.Store(&map[string]*messageType{})
	r.offers.Store(new(offerLog))
	r.byNumber.Store(new([]*messageType))
	r.numbers = make(map[offered]uint32)
}

// lookup finds a type that is declared, or nil.
func (r *registry) lookup(name string) *messageType { return (*r.types.Load())[name] }

// numbered finds a message type by the number of its offer. It is nil for numbers
// of another kind, and for those that were never given away.
func (r *registry) numbered(n int) *messageType {
	all := *r.byNumber.Load()
	if n < 1 || n > len(all) {
		return nil
	}
	return all[n-1]
}

// numberLocked finds the number of a name, or gives one away.
func (r *registry) numberLocked(kind Kind, name string) uint32 {
	key := offered{kind, name}
	n, ok := r.numbers[key]
	if !ok {
		n = uint32(len(r.numbers) + 1)
		r.numbers[key] = n
		all := append((*r.byNumber.Load())[:n-1:n-1], nil)
		r.byNumber.Store(&all)
	}
	return n
}

// typeLocked finds what there is of a type, or makes it.
func (e *Engine) typeLocked(name string) *messageType {
	n := e.reg.numberLocked(KindMessage, name)
	if t := e.reg.numbered(int(n)); t != nil {
		return t
	}
	t := newMessageType(name, e.cfg.Obs, e.total)
	t.number, t.index = n, int(n)-1
	all := slices.Clone(*e.reg.byNumber.Load())
	all[n-1] = t
	e.reg.byNumber.Store(&all)
	return t
}

// Set declares a message type, or gives it other properties. It can be sent from
// then on; with receive, peers are told that this node takes it, and are
// listened to. Without, they are told how it is declared; the streams on which
// they send it are reset. The spec is taken as it is, with its defaults.
//
// What is under way is kept, however a type changes. Errors: ErrClosed, an
// *OffersError, and what Spec.Validate finds.
func (e *Engine) Set(spec msgtype.Spec, receive bool) error {
	spec = spec.WithDefaults()
	if err := spec.Validate(); err != nil {
		return err
	}
	e.mu.Lock()
	t := e.typeLocked(spec.Name)
	err := e.offerLocked(t.number, offerOf(&spec, receive))
	var was *settings
	if err == nil {
		was = t.set(&settings{spec: spec, receive: receive})
		if e.reg.lookup(spec.Name) == nil {
			types := maps.Clone(*e.reg.types.Load())
			types[spec.Name] = t
			e.reg.types.Store(&types)
		}
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	for _, s := range e.sessions() {
		s.ctl.kick(s)
		s.note(t)
		if !receive && was != nil && was.receive {
			s.resetInbound(t)
		}
	}
	return nil
}

// Offer tells all peers of something that is no message type, or that it has
// other properties now, and returns the number under which they know it: the
// same for as long as the engine lives. Errors: ErrClosed and an *OffersError.
func (e *Engine) Offer(o Offer) (number uint32, err error) {
	if err := msgtype.CheckName(o.Name); err != nil {
		return 0, err
	}
	e.mu.Lock()
	number = e.reg.numberLocked(o.Kind, o.Name)
	err = e.offerLocked(number, o)
	e.mu.Unlock()
	if err != nil {
		return 0, err
	}
	e.kickAll()
	return number, nil
}

// Withdraw undoes Offer.
func (e *Engine) Withdraw(kind Kind, name string) {
	e.mu.Lock()
	number, known := e.reg.numbers[offered{kind, name}]
	if known {
		_ = e.offerLocked(number, Offer{})
	}
	e.mu.Unlock()
	e.kickAll()
}

// offerLocked notes what peers are to be told.
func (e *Engine) offerLocked(number uint32, o Offer) error {
	log := e.reg.offers.Load()
	if e.closed {
		return ErrClosed
	}
	if now, _ := log.find(number); now == o {
		return nil // also when neither is there
	}
	next, err := log.with(entry{number: number, offer: o})
	if err == nil {
		e.reg.offers.Store(next)
	}
	return err
}

// kickAll has every session tell its peer what has changed.
func (e *Engine) kickAll() {
	for _, s := range e.sessions() {
		s.ctl.kick(s)
	}
}
