package dispatcher_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// hooks records what the owner of a dispatcher is told.
type hooks struct {
	mu    sync.Mutex
	calls []string
	err   error
}

func (h *hooks) opened(typ string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, "+"+typ)
	return h.err
}

func (h *hooks) closed(typ string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, "-"+typ)
}

func (h *hooks) told() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls = nil
	return calls
}

func hooked(t *testing.T, opt dispatcher.Option) *dispatcher.Dispatcher {
	t.Helper()
	d, err := dispatcher.New(dispatcher.Config{}, quiet(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The owner is told of the first subscriber of a type and of the last one, and
// of none that could not be registered.
func TestTopicHooks(t *testing.T) {
	h := new(hooks)
	d := hooked(t, dispatcher.WithTopicHooks(h.opened, h.closed))
	a, b := dispatcher.NewSubscription("a", "tx"), dispatcher.NewSubscription("b", "tx")
	other := dispatcher.NewSubscription("a", "block")
	step := func(what string, err error, calls ...string) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		want(t, what, h.told(), calls)
	}
	step("first", d.Register(a), "+tx")
	step("second, and another type", d.Register(b, other), "+block")
	step("not the last", d.Deregister(a))
	step("the last", d.Deregister(b), "-tx")
	if err := d.Register(dispatcher.NewSubscription("c", "tx"), nil); !errors.Is(err, dispatcher.ErrNilSubscriber) {
		t.Errorf("register by half: %v", err)
	}
	want(t, "register by half", h.told(), []string{"+tx", "-tx"})

	h.err = errors.New("too many types")
	err := d.Register(dispatcher.NewSubscription("d", "tx"))
	var se *dispatcher.SubscriberError
	if !errors.Is(err, h.err) || !errors.As(err, &se) || se.Type != "tx" {
		t.Errorf("refused: %v", err)
	}
	want(t, "refused", h.told(), []string{"+tx"})
	h.err = nil
	step("once more", d.Register(dispatcher.NewSubscription("d", "tx")), "+tx")
	if err := d.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	step("stopped", nil)
}

// A hook that panics, or ends the goroutine, is an error of Register, and the
// next one is told.
func TestTopicHookPanics(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("no") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			bad := true
			d := hooked(t, dispatcher.WithTopicHooks(func(string) error {
				if bad {
					end()
				}
				return nil
			}, nil))
			sub := dispatcher.NewSubscriber("a", make(chan dispatcher.Message), true, "tx", 1)
			var err error
			var wg sync.WaitGroup
			wg.Go(func() { err = d.Register(sub) })
			wg.Wait()
			if name == "panic" && !errors.Is(err, dispatcher.ErrSubscriberPanic) {
				t.Errorf("register: %v", err)
			}
			if s := d.Stats(); s.Panics != 1 || len(s.Subscribers) != 0 {
				t.Errorf("%+v", s)
			}
			bad = false
			if err := d.Register(sub); err != nil {
				t.Errorf("register again: %v", err)
			}
		})
	}
}

// While the owner is being told, others of that type wait for the outcome, and
// other types do not.
func TestTopicHooksAreInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := new(hooks)
		d := hooked(t, dispatcher.WithTopicHooks(func(typ string) error {
			_ = h.opened(typ)
			if typ == "slow" {
				<-release
			}
			return nil
		}, h.closed))
		var registered atomic.Int32
		for i := range 3 {
			go func() {
				if err := d.Register(dispatcher.NewSubscription(i, "slow")); err != nil {
					t.Error(err)
				}
				registered.Add(1)
			}()
		}
		synctest.Wait()
		if err := d.Register(dispatcher.NewSubscription("a", "quick")); err != nil {
			t.Fatal(err)
		}
		if n := registered.Load(); n != 0 {
			t.Errorf("%d were registered before the owner knew", n)
		}
		close(release)
		synctest.Wait()
		want(t, "told", h.told(), []string{"+slow", "+quick"})
		if n := registered.Load(); n != 3 {
			t.Errorf("%d registered, want 3", n)
		}
	})
}

// However many come and go at the same time, the owner is told alternately, and
// knows in the end.
func TestTopicHooksUnderChurn(t *testing.T) {
	var open, wrong atomic.Int32
	d := hooked(t, dispatcher.WithTopicHooks(func(string) error {
		if !open.CompareAndSwap(0, 1) {
			wrong.Add(1)
		}
		return nil
	}, func(string) {
		if !open.CompareAndSwap(1, 0) {
			wrong.Add(1)
		}
	}))
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 200 {
				sub := dispatcher.NewSubscription(w, "tx")
				if err := d.Register(sub); err != nil {
					t.Error(err)
				}
				if open.Load() != 1 {
					wrong.Add(1)
				}
				if err := d.Deregister(sub); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if wrong.Load() != 0 || open.Load() != 0 {
		t.Errorf("%d times told wrongly, in the end open is %d", wrong.Load(), open.Load())
	}
}

// The owner of a dispatcher learns which types are wanted.
func ExampleWithTopicHooks() {
	d, err := dispatcher.New(dispatcher.Config{}, dispatcher.WithTopicHooks(
		func(msgType string) error { fmt.Println("wanted:", msgType); return nil },
		func(msgType string) { fmt.Println("no longer wanted:", msgType) }))
	if err != nil {
		panic(err)
	}
	a, b := dispatcher.NewSubscription("a", "tx"), dispatcher.NewSubscription("b", "tx")
	fmt.Println(d.Register(a, b), d.Deregister(a, b))
	// Output:
	// wanted: tx
	// no longer wanted: tx
	// <nil> <nil>
}
