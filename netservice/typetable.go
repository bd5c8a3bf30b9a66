package netservice

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// typeTable knows the message types of a service: what was declared of them,
// and how many subscribers want them.
type typeTable struct {
	maxSize int
	states  sync.Map // name → *typeState, for the paths of every message
	open    atomic.Int32

	mu      sync.Mutex   // guards what follows and all changes of states
	binding *typeBinding // nil until the node has started
}

// typeState is one message type. It is replaced as a whole, but for the number
// of subscribers.
type typeState struct {
	spec        msgtype.Spec // with its defaults
	asked       MessageSpec  // as declared; zero for first use
	validator   Validator
	heads       *Headers
	explicit    bool // declared by the program, not by first use
	subscribers int  // guarded by the table
}

func newTypeTable(maxSize int) *typeTable { return &typeTable{maxSize: maxSize} }

func (t *typeTable) lookup(name string) *typeState {
	if v, ok := t.states.Load(name); ok {
		return v.(*typeState)
	}
	return nil
}

func (t *typeTable) declare(asked MessageSpec) error {
	if s := t.lookup(asked.Name); s != nil && s.asked == asked {
		return nil // the common case, on the path of every typed message
	}
	spec := asked.internal(t.maxSize)
	if err := checkSpec(spec); err != nil {
		return err
	}
	if asked.NoDirect && asked.NoBroadcast {
		return &ConfigError{Field: asked.Name + ".NoDirect", Err: errors.New("is set beside NoBroadcast: no message could come")}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if other := t.onTopicLocked(spec); other != "" {
		return fmt.Errorf("%w: topic %q of %s is that of %s", ErrConflict, spec.Broadcast.Topic, spec.Name, other)
	}
	next := typeState{spec: spec, asked: asked, explicit: true}
	if old := t.lookup(spec.Name); old != nil {
		switch {
		case old.explicit && old.spec == spec && old.asked.NoDirect == asked.NoDirect:
			return nil
		case old.explicit:
			return fmt.Errorf("%w: %s: %s", ErrConflict, spec.Name, changes("", reflect.ValueOf(old.asked), reflect.ValueOf(asked)))
		}
		next.validator, next.heads, next.subscribers = old.validator, old.heads, old.subscribers
	}
	return t.storeLocked(&next)
}

// changes tells which fields of a declaration are others than before.
func changes(in string, was, is reflect.Value) string {
	var list []string
	for i := range was.NumField() {
		a, b, name := was.Field(i), is.Field(i), in+was.Type().Field(i).Name
		switch {
		case a.Equal(b):
		case a.Kind() == reflect.Struct:
			list = append(list, changes(name+".", a, b))
		default:
			list = append(list, fmt.Sprintf("%s was %v and is %v", name, a, b))
		}
	}
	return strings.Join(list, ", ")
}

// onTopicLocked finds another type that names the same topic.
func (t *typeTable) onTopicLocked(spec msgtype.Spec) (name string) {
	if spec.Broadcast.Topic == "" {
		return ""
	}
	t.states.Range(func(_, v any) bool {
		if s := v.(*typeState); s.spec.Name != spec.Name && s.spec.Broadcast.Topic == spec.Broadcast.Topic {
			name = s.spec.Name
		}
		return name == ""
	})
	return name
}

// validate sets the validator of a type.
func (t *typeTable) validate(name string, v Validator) error {
	return t.changeBroadcast(name, func(s *typeState) { s.validator = v })
}

// headers sets those of a type.
func (t *typeTable) headers(name string, h *Headers) error {
	return t.changeBroadcast(name, func(s *typeState) { s.heads = h })
}

// changeBroadcast changes what concerns the broadcasts of a type.
func (t *typeTable) changeBroadcast(name string, change func(*typeState)) error {
	if _, err := t.use(name); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := *t.lookup(name)
	if next.spec.NoBroadcast {
		return fmt.Errorf("%w: %s", ErrNoBroadcast, name)
	}
	change(&next)
	return t.storeLocked(&next)
}

// use makes sure that a type exists, with defaults when it was never declared.
func (t *typeTable) use(name string) (*typeState, error) {
	if s := t.lookup(name); s != nil {
		return s, nil
	}
	spec := MessageSpec{Name: name}.internal(t.maxSize)
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.lookup(name); s != nil {
		return s, nil
	}
	if err := t.storeLocked(&typeState{spec: spec}); err != nil {
		return nil, err
	}
	return t.lookup(name), nil
}

// storeLocked puts a state into the table and, once there is one, on the wire.
func (t *typeTable) storeLocked(s *typeState) error {
	if t.binding != nil {
		if err := t.binding.set(s); err != nil {
			return err
		}
	}
	if old := t.lookup(s.spec.Name); old != nil && old.spec.Broadcast.Open {
		t.open.Add(-1)
	}
	if s.spec.Broadcast.Open {
		t.open.Add(1)
	}
	t.states.Store(s.spec.Name, s)
	if t.binding != nil {
		t.binding.gossip.RulesChanged(s.spec.Name) // it asks the table
	}
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
	s.subscribers++
	if s.subscribers > 1 || t.binding == nil {
		return nil
	}
	err := t.binding.set(s)
	if err != nil {
		s.subscribers--
		_ = t.binding.set(s) // peers may have been told
	}
	return err
}

// unsubscribe undoes subscribe; with the last one peers may no longer send it.
func (t *typeTable) unsubscribe(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.lookup(name)
	if s == nil || s.subscribers == 0 {
		return
	}
	if s.subscribers--; s.subscribers == 0 && t.binding != nil {
		// It can fail only when the engines are closed.
		_ = t.binding.set(s)
	}
}

// attach puts all that is known on the wire, and every change from then on.
func (t *typeTable) attach(b *typeBinding) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.binding = b
	var all []*typeState
	t.states.Range(func(_, v any) bool {
		all = append(all, v.(*typeState))
		return true
	})
	// By name, so that a node does the same in each of its runs.
	slices.SortFunc(all, func(a, b *typeState) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	for _, s := range all {
		if err := b.set(s); err != nil {
			return err
		}
	}
	return nil
}

// awaitReplaced waits until no declaration is being replaced.
func (t *typeTable) awaitReplaced() {
	t.mu.Lock()
	defer t.mu.Unlock()
}

// hasOpen tells whether nodes without a handshake may take part in some type.
func (t *typeTable) hasOpen() bool { return t.open.Load() > 0 }
