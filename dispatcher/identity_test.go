package dispatcher_test

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// asked is a subscriber that may fail in one of its methods.
type asked struct {
	external
	in  string
	end func()
}

func (a *asked) fail(in string) {
	if a.in == in {
		a.end()
	}
}

func (a *asked) ID() any                          { a.fail("ID"); return a.id }
func (a *asked) MessageType() string              { a.fail("MessageType"); return a.typ }
func (a *asked) DoFilter() bool                   { a.fail("DoFilter"); return a.filter }
func (a *asked) Weight() dispatcher.MessageWeight { a.fail("Weight"); return 1 }

func explodeNow() { panic("no") }

// embedder is a subscriber of another module that leaves its embedded one out.
type embedder struct{ *dispatcher.ChanSubscriber }

func (embedder) ID() any                          { return "embedder" }
func (embedder) MessageType() string              { return "tx" }
func (embedder) DoFilter() bool                   { return false }
func (embedder) Weight() dispatcher.MessageWeight { return 1 }

// A subscriber that panics when it is registered is an error that is counted,
// and nothing is registered.
func TestRegisterPanicIsCounted(t *testing.T) {
	bad := []dispatcher.Subscriber{embedder{}}
	for _, in := range []string{"ID", "MessageType", "DoFilter", "Weight"} {
		bad = append(bad, &asked{external: external{id: "bad", typ: "tx"}, in: in, end: explodeNow})
	}
	d := start(t, dispatcher.Config{})
	for i, sub := range bad {
		good := &external{id: "good", typ: "tx"}
		err := d.Register(good, sub)
		se, ok := errors.AsType[*dispatcher.SubscriberError](err)
		if !ok || !errors.Is(se, dispatcher.ErrSubscriberPanic) {
			t.Errorf("%d: %v", i, err)
		}
		if n := d.Stats().Panics; n != uint64(i+1) {
			t.Errorf("%d: %d panics counted, want %d", i, n, i+1)
		}
		if n := len(d.Stats().Subscribers); n != 0 {
			t.Errorf("%d: %d subscribers, want none", i, n)
		}
	}
	if err := d.Register(&external{id: "good", typ: "tx"}, &external{id: "bad", typ: "tx"}); err != nil {
		t.Errorf("an identity was not given back: %v", err)
	}
}

// The same for one that ends the goroutine of its caller.
func TestRegisterEndsGoroutine(t *testing.T) {
	for _, in := range []string{"ID", "MessageType", "DoFilter", "Weight"} {
		d := start(t, dispatcher.Config{})
		good, bad := &external{id: "good", typ: "tx"}, &asked{external: external{id: "bad", typ: "tx"}, in: in, end: runtime.Goexit}
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Register(good, bad) })
		wg.Wait()
		if n := d.Stats().Panics; n != 1 {
			t.Errorf("%s: %d panics counted, want 1", in, n)
		}
		if err := d.Register(good, &external{id: "bad", typ: "tx"}); err != nil {
			t.Errorf("%s: an identity was not given back: %v", in, err)
		}
	}
}

// Deregister asks for the identity alone; a panic there leaves the subscriber
// registered.
func TestDeregisterPanics(t *testing.T) {
	d := start(t, dispatcher.Config{})
	sub := &asked{external: external{id: "a", typ: "tx"}, end: explodeNow}
	if err := d.Register(sub); err != nil {
		t.Fatal(err)
	}
	for i, in := range []string{"ID", "MessageType"} {
		sub.in = in
		err := d.Deregister(sub)
		se, ok := errors.AsType[*dispatcher.SubscriberError](err)
		if !ok || !errors.Is(se, dispatcher.ErrSubscriberPanic) {
			t.Errorf("%s: %v", in, err)
		}
		if s := d.Stats(); s.Panics != uint64(i+1) || len(s.Subscribers) != 1 {
			t.Errorf("%s: %+v", in, s)
		}
	}
	sub.in = "Weight"
	if err := d.Deregister(sub); err != nil {
		t.Errorf("it was asked for its weight: %v", err)
	}
}
