package gossip

import (
	"fmt"
	"maps"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
)

// Declare makes a message type known, so that it can be published and joined.
// Errors: *ConfigError, ErrDeclared, ErrClosed.
func (e *Engine) Declare(spec Topic) error {
	if !e.calls.enter() {
		return ErrClosed
	}
	defer e.calls.leave()
	spec.MessageID = e.guardID(spec.MessageID)
	spec = spec.withDefaults(&e.cfg)
	if err := spec.validate(&e.cfg); err != nil {
		return err
	}
	e.ctl.Lock()
	defer e.ctl.Unlock()
	return e.declareLocked(spec)
}

func (e *Engine) declareLocked(spec Topic) error {
	old := e.table.Load()
	if old.byType[spec.Type] != nil || old.byName[spec.Name] != nil {
		return fmt.Errorf("%w: %s (%s)", ErrDeclared, spec.Type, spec.Name)
	}
	t := newTopic(spec, e)
	e.replaceLocked(func(n *table) {
		n.byType[t.Type] = t
		n.byName[t.Name] = t
	})
	if t.Open {
		e.openTopics.Add(1)
	}
	e.step(router.Event{Kind: router.Declare, Spec: e.spec(t.set())})
	if e.started.Load() && !e.listens {
		e.listenLocked()
	}
	return nil
}

func (e *Engine) replaceLocked(edit func(*table)) {
	old := e.table.Load()
	n := &table{byType: maps.Clone(old.byType), byName: maps.Clone(old.byName)}
	edit(n)
	e.table.Store(n)
}

// Change gives a declared type new properties. It goes on where it was: in its
// mesh, with what is parked and what waits, unless Name, Open or Timed change; then
// it is retracted, declared, and joined if it was. After an error the type is as it
// was. Topic.MessageID cannot be changed. Errors: *ConfigError, ErrNotDeclared,
// ErrDeclared, ErrClosed.
func (e *Engine) Change(spec Topic) error {
	spec = spec.withDefaults(&e.cfg)
	if err := spec.validate(&e.cfg); err != nil {
		return err
	}
	return e.withTopic(spec.Type, func(t *topic) error {
		spec.MessageID = t.id
		if spec.same(t) {
			t.now.Store(e.settings(spec))
			e.step(router.Event{Kind: router.Declare, Spec: e.spec(t.set())})
			return nil
		}
		if other := e.byName(spec.Name); other != nil && other != t {
			return fmt.Errorf("%w: %s (%s)", ErrDeclared, spec.Type, spec.Name)
		}
		e.mu.Lock()
		v, _ := e.router.Topic(t.Name)
		e.mu.Unlock()
		e.retractLocked(t)
		if err := e.declareLocked(spec); err != nil {
			return err
		}
		if v.Joined {
			e.step(router.Event{Kind: router.Join, Topic: spec.Name})
		}
		return nil
	})
}

// Join starts to receive a type, and to forward it. Joining twice is joining
// once. Errors: ErrNotDeclared, ErrClosed.
func (e *Engine) Join(typ string) error {
	return e.withTopic(typ, func(t *topic) error {
		e.step(router.Event{Kind: router.Join, Topic: t.Name})
		return nil
	})
}

// Leave stops receiving a type; it can be published still. Errors:
// ErrNotDeclared, ErrClosed.
func (e *Engine) Leave(typ string) error {
	return e.withTopic(typ, func(t *topic) error {
		e.step(router.Event{Kind: router.Leave, Topic: t.Name})
		return nil
	})
}

// Retract leaves a type and forgets it, with all that was parked or waited for a
// first peer. Errors: ErrNotDeclared, ErrClosed.
func (e *Engine) Retract(typ string) error {
	return e.withTopic(typ, func(t *topic) error {
		e.retractLocked(t)
		return nil
	})
}

func (e *Engine) retractLocked(t *topic) {
	e.step(router.Event{Kind: router.Leave, Topic: t.Name})
	e.exportCounts()
	e.replaceLocked(func(n *table) {
		delete(n.byType, t.Type)
		delete(n.byName, t.Name)
	})
	if t.Open {
		e.openTopics.Add(-1)
	}
	e.step(router.Event{Kind: router.Retract, Topic: t.Name})
}

func (e *Engine) withTopic(typ string, f func(*topic) error) error {
	if !e.calls.enter() {
		return ErrClosed
	}
	defer e.calls.leave()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	t := e.byType(typ)
	if t == nil {
		return fmt.Errorf("%w: %q", ErrNotDeclared, typ)
	}
	return f(t)
}
