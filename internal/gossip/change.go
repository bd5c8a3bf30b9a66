package gossip

import (
	"errors"
	"fmt"
)

// Change gives a declared type new properties. It goes on where it was: in its
// mesh, with what is parked and what waits, unless Name, Open, Bulk or Timed
// change; then it is retracted, declared, and joined if it was. After an error
// the type is as it was. Topic.MessageID cannot be changed. Errors:
// *ConfigError, ErrNotDeclared, ErrDeclared, ErrClosed.
func (e *Engine) Change(spec Topic) error {
	spec = spec.withDefaults(&e.cfg)
	if err := spec.validate(&e.cfg); err != nil {
		return err
	}
	return e.withTopic(spec.Type, func(t *topic) error {
		spec.MessageID = t.MessageID
		if spec.same(t) {
			return e.adjustLocked(t, spec)
		}
		return e.replaceTopicLocked(t, spec)
	})
}

// adjustLocked changes what the network does not see.
func (e *Engine) adjustLocked(t *topic, spec Topic) error {
	old := t.set()
	if !t.ready.Load() {
		t.now.Store(newSettings(spec))
		return nil
	}
	if err := t.handle.SetScoreParams(e.cfg.Params.topicScore(spec.Score)); err != nil {
		return fmt.Errorf("gossip: change %s: %w", t.Type, err)
	}
	if spec.quick() == old.quick() {
		t.now.Store(newSettings(spec))
		return nil
	}
	// The router lets messages of a topic without a validator pass unseen. It
	// gets none until there is one again; what comes meanwhile is asked for.
	t.validator.Lock()
	defer t.validator.Unlock()
	t.l.switching.Add(1)
	t.switching.Store(true)
	defer func() {
		t.switching.Store(false)
		t.l.switching.Add(-1)
	}()
	t.now.Store(newSettings(spec))
	err := t.l.ps.UnregisterTopicValidator(t.Name)
	if err == nil {
		err = t.l.register(t, spec.quick())
	}
	if err != nil {
		return fmt.Errorf("gossip: change %s: %w", t.Type, err)
	}
	return nil
}

// replaceTopicLocked puts another topic in the place of one.
func (e *Engine) replaceTopicLocked(t *topic, spec Topic) error {
	if other := e.byName(spec.Name); other != nil && other != t {
		return fmt.Errorf("%w: %s (%s)", ErrDeclared, spec.Type, spec.Name)
	}
	joined, old := t.joined.Load(), t.set().Topic
	if err := e.retractLocked(t); err != nil {
		return err
	}
	err := e.declareLocked(spec)
	if err != nil {
		err = errors.Join(err, e.declareLocked(old))
	}
	if now := e.byType(spec.Type); now != nil && joined {
		now.joined.Store(true)
		if now.ready.Load() {
			err = errors.Join(err, now.joinLocked())
		}
	}
	return err
}
