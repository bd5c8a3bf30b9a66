package gossip

import (
	"fmt"
	"maps"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// Set declares a message type, or gives it other properties. It can be published from
// then on; with receive, it is received and forwarded as well. validate is asked
// about what peers send; nil accepts everything. The spec is taken as it is, with its defaults. A
// type that is not broadcast is forgotten, with all that was deferred or waited for a
// first peer.
//
// A type that changes goes on where it was: in its mesh, with what is deferred and what
// waits, unless Topic, Open or Timed are others; then it begins anew. After an error it
// is as it was. Errors: ErrClosed, ErrTopicTaken, and what Spec.Validate finds.
func (e *Engine) Set(spec msgtype.Spec, receive bool, validate Validator) error {
	spec, err := e.checked(spec)
	if err != nil {
		return err
	}
	if !e.calls.enter() {
		return ErrClosed
	}
	defer e.calls.leave()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	b := &spec.Broadcast
	t := e.byType(spec.Name)
	if other := e.byName(b.Topic); !spec.NoBroadcast && other != nil && other != t {
		return fmt.Errorf("%w: %s (%s)", ErrTopicTaken, b.Topic, other.Type)
	}
	if t != nil && (spec.NoBroadcast || !t.is(b)) {
		e.removeLocked(t)
		t = nil
	}
	if spec.NoBroadcast {
		return nil
	}
	now := &settings{*b, validate}
	if t != nil {
		t.now.Store(now)
	} else {
		t = e.newTopic(spec.Name, now)
		e.addLocked(t)
	}
	join := router.Event{Kind: router.Leave, Topic: t.Name}
	if receive {
		join.Kind = router.Join
	}
	e.step(router.Event{Kind: router.Declare, Spec: e.spec(now)})
	e.offerAll(t)
	e.step(join)
	if e.started.Load() && !e.listens {
		e.listenLocked()
	}
	return nil
}

func (e *Engine) addLocked(t *topic) {
	e.replaceLocked(func(n *table) {
		n.byType[t.Type] = t
		n.byName[t.Name] = t
	})
	if t.Open {
		e.openTopics.Add(1)
	}
}

func (e *Engine) removeLocked(t *topic) {
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

func (e *Engine) replaceLocked(edit func(*table)) {
	old := e.table.Load()
	n := &table{byType: maps.Clone(old.byType), byName: maps.Clone(old.byName)}
	edit(n)
	e.table.Store(n)
}
