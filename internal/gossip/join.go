package gossip

import (
	"errors"
	"fmt"
	"maps"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
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
		e.members.wakeAll()
		// What foreigners said of it is forgotten: they say it on new streams.
		e.resetForeignLocked()
	}
	if !e.started.Load() {
		return nil // Start does it
	}
	if err := e.openLocked(t); err != nil {
		e.forgetLocked(t)
		return err
	}
	return nil
}

func (e *Engine) replaceLocked(edit func(*table)) {
	old := e.table.Load()
	n := &table{byType: maps.Clone(old.byType), byName: maps.Clone(old.byName)}
	edit(n)
	e.table.Store(n)
}

func (e *Engine) forgetLocked(t *topic) {
	e.replaceLocked(func(n *table) {
		delete(n.byType, t.Type)
		delete(n.byName, t.Name)
	})
	if t.Open {
		e.openTopics.Add(-1)
	}
}

// openLocked gives a topic its place in the router.
func (e *Engine) openLocked(t *topic) error {
	l, err := e.laneLocked(t.Bulk)
	if err != nil {
		return err
	}
	t.l = l
	s := t.set()
	if err := l.register(t, s.quick()); err != nil {
		return fmt.Errorf("gossip: declare %s: %w", t.Type, err)
	}
	h, err := l.ps.Join(t.Name, pubsub.WithTopicMessageIdFn(t.id()))
	if err == nil {
		if err = h.SetScoreParams(e.cfg.Params.topicScore(s.Score)); err != nil {
			_ = h.Close()
		}
	}
	if err != nil {
		_ = l.ps.UnregisterTopicValidator(t.Name)
		return fmt.Errorf("gossip: declare %s: %w", t.Type, err)
	}
	t.handle = h
	t.ready.Store(true)
	if t.joined.Load() {
		return t.joinLocked()
	}
	return nil
}

// laneLocked is the lane of bulk types, or of all others. It is opened with the
// first type that needs it.
func (e *Engine) laneLocked(bulk bool) (_ *lane, err error) {
	at, name, size := &e.main, "", e.cfg.MaxMessageSize
	if bulk {
		at, name, size = &e.bulk, bulkName, e.cfg.MaxBulkSize
	}
	if *at == nil {
		*at, err = newLane(e, name, size)
	}
	return *at, err
}

// register has the router ask this lane about messages of a topic: in its own
// goroutines if the topic is quick.
func (l *lane) register(t *topic, quick bool) error {
	return l.ps.RegisterTopicValidator(t.Name, l.validator(t),
		pubsub.WithValidatorInline(quick), pubsub.WithValidatorConcurrency(unlimited))
}

func (t *topic) joinLocked() (err error) {
	if t.stop == nil {
		t.stop, err = t.handle.Relay()
	}
	return err
}

// Join starts to receive a type, and to forward it. Joining twice is joining
// once. Errors: ErrNotDeclared, ErrClosed.
func (e *Engine) Join(typ string) error {
	return e.withTopic(typ, func(t *topic) error {
		t.joined.Store(true)
		if !t.ready.Load() {
			return nil // Start does it
		}
		if err := t.joinLocked(); err != nil {
			return fmt.Errorf("gossip: join %s: %w", typ, err)
		}
		return nil
	})
}

// Leave stops receiving a type; it can be published still. Errors:
// ErrNotDeclared, ErrClosed.
func (e *Engine) Leave(typ string) error {
	return e.withTopic(typ, func(t *topic) error {
		t.leaveLocked()
		return nil
	})
}

func (t *topic) leaveLocked() {
	t.joined.Store(false)
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// Retract leaves a type and forgets it, with all that was parked or waited for a
// first peer. Errors: ErrNotDeclared, ErrClosed.
func (e *Engine) Retract(typ string) error {
	return e.withTopic(typ, e.retractLocked)
}

func (e *Engine) retractLocked(t *topic) error {
	t.leaveLocked()
	e.forgetLocked(t)
	e.expireParked(t)
	e.lose(t, t.pending.drain())
	if !t.ready.Load() {
		return nil
	}
	if err := errors.Join(t.l.ps.UnregisterTopicValidator(t.Name), t.handle.Close()); err != nil {
		return fmt.Errorf("gossip: retract %s: %w", t.Type, err)
	}
	return nil
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
