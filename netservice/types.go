package netservice

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/session"
)

// Priority is the class of a message type. Classes share a connection by
// weight (high 16, normal 4, low 1): lower ones are slowed, never starved.
type Priority = session.Priority

// The priorities. The zero value means PriorityNormal.
const (
	PriorityHigh   = session.PriorityHigh
	PriorityNormal = session.PriorityNormal
	PriorityLow    = session.PriorityLow
)

// Compression is how frames above 1 KiB are compressed on the wire, where that
// makes them smaller. The zero value means CompressS2.
type Compression = session.Compression

// The compressions. A receiver understands all of them.
const (
	CompressS2   = session.CompressS2
	CompressZstd = session.CompressZstd
	CompressNone = session.CompressNone
)

// MessageSpec declares a message type. Only Name is required.
type MessageSpec struct {
	// Name is the type on the wire: 1 to 64 letters, digits, dots, dashes and
	// underscores.
	Name string
	// MaxSize bounds a payload in bytes, sent and received.
	// Default: Config.MaxMessageSize.
	MaxSize int
	// Priority is the default priority of its messages.
	// Default: PriorityNormal.
	Priority Priority
	// Compression of its frames. Default: CompressS2.
	Compression Compression
	// QueueBytes bounds what waits of this type for one peer. Default: 4 MiB,
	// or one message of MaxSize where that is more.
	QueueBytes int
}

// wire is what the types' table tells the engine below: which types are sent,
// and which are taken from peers.
type wire interface {
	Declare(session.TypeSpec) error
	Accept(name string) error
	Refuse(name string)
}

// typeTable knows the message types of a service: what was declared of them,
// and how many subscribers want them.
type typeTable struct {
	maxSize int
	states  sync.Map // name → *typeState, for the paths of every message

	mu   sync.Mutex // guards what follows and all changes of states
	wire wire       // nil until the node has started
}

// typeState is one message type. Its spec is replaced as a whole.
type typeState struct {
	spec        MessageSpec
	explicit    bool // declared by the program, not by first use
	subscribers int
	spread      atomic.Bool // has been broadcast or relayed: track who has what
}

func newTypeTable(maxSize int) *typeTable { return &typeTable{maxSize: maxSize} }

func (t *typeTable) lookup(name string) *typeState {
	if v, ok := t.states.Load(name); ok {
		return v.(*typeState)
	}
	return nil
}

func (t *typeTable) declare(spec MessageSpec) error {
	if err := dispatcher.ValidType(spec.Name); err != nil {
		return err
	}
	setDefault(&spec.MaxSize, t.maxSize)
	setDefault(&spec.Priority, PriorityNormal)
	if s := t.lookup(spec.Name); s != nil && s.explicit && s.spec == spec {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.declareLocked(spec, true)
}

// use makes sure that a type exists, with defaults when it was never declared.
func (t *typeTable) use(name string) (*typeState, error) {
	if s := t.lookup(name); s != nil {
		return s, nil
	}
	if err := dispatcher.ValidType(name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.declareLocked(MessageSpec{Name: name, MaxSize: t.maxSize, Priority: PriorityNormal}, false); err != nil {
		return nil, err
	}
	return t.lookup(name), nil
}

// declareLocked adds a type or, where it existed only by first use, gives it
// the properties that the program declares later.
func (t *typeTable) declareLocked(spec MessageSpec, explicit bool) error {
	old := t.lookup(spec.Name)
	if old != nil && (!explicit || old.explicit) {
		if explicit && old.spec != spec {
			return fmt.Errorf("%w: %s", ErrConflict, spec.Name)
		}
		return nil
	}
	s := &typeState{spec: spec, explicit: explicit}
	if old != nil {
		s.subscribers = old.subscribers
		s.spread.Store(old.spread.Load())
	}
	if t.wire != nil {
		if err := t.wire.Declare(spec.wire()); err != nil {
			return err
		}
	}
	t.states.Store(spec.Name, s)
	return nil
}

// subscribe counts a subscriber; with the first one peers may send the type.
func (t *typeTable) subscribe(name string) error {
	if _, err := t.use(name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.lookup(name)
	if s.subscribers == 0 && t.wire != nil {
		if err := t.wire.Accept(name); err != nil {
			return err
		}
	}
	s.subscribers++
	return nil
}

// unsubscribe undoes subscribe; with the last one peers may no longer send it.
func (t *typeTable) unsubscribe(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.lookup(name)
	if s == nil || s.subscribers == 0 {
		return
	}
	if s.subscribers--; s.subscribers == 0 && t.wire != nil {
		t.wire.Refuse(name)
	}
}

// attach tells an engine all that is known, and every change from then on.
func (t *typeTable) attach(w wire) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wire = w
	var err error
	t.states.Range(func(_, v any) bool {
		s := v.(*typeState)
		if err = w.Declare(s.spec.wire()); err == nil && s.subscribers > 0 {
			err = w.Accept(s.spec.Name)
		}
		return err == nil
	})
	return err
}

// wire is the spec in the words of the session engine.
func (s MessageSpec) wire() session.TypeSpec {
	return session.TypeSpec{Name: s.Name, MaxSize: s.MaxSize, Priority: s.Priority, Compress: s.Compression, QueueBytes: s.QueueBytes}
}
