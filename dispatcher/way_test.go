package dispatcher_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// goroutines are the goroutines of this package's own code, by the function
// that each began with.
func goroutines() map[string]int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	began := make(map[string]int)
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if _, by, ok := strings.Cut(g, "created by github.com/go-nebnet/nebnet/dispatcher."); ok {
			frames := strings.Split(strings.TrimSpace(strings.Split(g, "created by ")[0]), "\n")
			name := frames[len(frames)-2] // the last call, above its place
			began[name[strings.LastIndex(name, ".")+1:strings.LastIndex(name, "(")]]++
			_ = by
		}
	}
	return began
}

// A message from PutMessage to a handler passes two goroutines, the loop and
// the handler's own, and waits in two queues: the inbox and the handler's.
func TestWayOfAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := start(t, dispatcher.Config{}, dispatcher.NewHandler("h", "tx", func(context.Context, dispatcher.Message) { <-release },
			dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithFilter(true), dispatcher.WithQueue(10)))
		put(t, d, "tx", numbers(0, 10)...)
		synctest.Wait()
		if g := goroutines(); len(g) != 2 || g["loop"] != 1 || g["work"] != 1 {
			t.Errorf("goroutines: %v", g)
		}
		// Everything is in the handler's queue or in its hands; the inbox is
		// empty, and there is no third place.
		s := subStats(t, d, "h")
		if s.Queued+int(s.Delivered) != 10 || s.Backlog != 0 || typeStats(d, "tx").Queued != 0 {
			t.Errorf("%+v, %+v", s, typeStats(d, "tx"))
		}
		close(release)
	})
}

// A subscriber that nobody waits for costs no goroutine.
func TestGoroutinesOfSubscribers(t *testing.T) {
	key := dispatcher.WithKey(dispatcher.Message.MessageFrom)
	lossless := dispatcher.WithPolicy(dispatcher.Lossless)
	ch := make(chan dispatcher.Message, 1)
	fn := func(context.Context, dispatcher.Message) {}
	for name, c := range map[string]struct {
		sub  dispatcher.Subscriber
		want int
	}{
		"channel":          {dispatcher.NewSubscriber(1, ch, true, "tx", 1), 0},
		"lossless channel": {dispatcher.NewSubscriber(1, ch, true, "tx", 1, lossless), 1},
		"keyed channel":    {dispatcher.NewSubscriber(1, ch, true, "tx", 1, key), 2},
		"handler":          {dispatcher.NewHandler(1, "tx", fn), 1},
		"keyed handler":    {dispatcher.NewHandler(1, "tx", fn, key), 2},
		"workers":          {dispatcher.NewHandler(1, "tx", fn, dispatcher.WithWorkers(5)), 5},
		"iterator":         {dispatcher.NewSubscription(1, "tx"), 0},
		"keyed iterator":   {dispatcher.NewSubscription(1, "tx", key), 1},
		"external":         {&external{id: 1, typ: "tx"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := start(t, dispatcher.Config{})
				if err := d.Register(c.sub); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if g := goroutines(); g["work"] != c.want || g["loop"] != 1 {
					t.Errorf("goroutines: %v, want %d", g, c.want)
				}
				if err := d.Deregister(c.sub); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if g := goroutines(); g["work"] != 0 {
					t.Errorf("left behind: %v", g)
				}
			})
		})
	}
}

// Stop in a handler, known by its context or its goroutine, names the handler and
// stops nothing; one of another dispatcher's handlers is none of its own.
func TestStopInHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 3)
		var d, other *dispatcher.Dispatcher
		h := dispatcher.NewHandler("suicidal", "tx", func(ctx context.Context, _ dispatcher.Message) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			errs <- d.Stop(ctx)
			errs <- d.Stop(context.Background())
			errs <- other.Stop(ctx)
		})
		d, other = start(t, dispatcher.Config{}, h), start(t, dispatcher.Config{})
		put(t, d, "tx", "1")
		synctest.Wait()
		for _, of := range []string{"its context", "its goroutine"} {
			if err := <-errs; !errors.Is(err, dispatcher.ErrStopInHandler) || !strings.Contains(err.Error(), "suicidal/tx") {
				t.Errorf("by %s: %v", of, err)
			}
		}
		if err := <-errs; err != nil {
			t.Errorf("another one: %v", err)
		}
		put(t, d, "tx", "2") // it goes on
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// In JSON a subscriber and its policy are words, also where the ID is a pointer.
func TestStatsJSON(t *testing.T) {
	d := start(t, dispatcher.Config{})
	type id struct{ secret string }
	if err := d.Register(
		dispatcher.NewSubscription("pool", "tx", dispatcher.WithPolicy(dispatcher.Lossless)),
		dispatcher.NewSubscription(&id{"x"}, "tx", dispatcher.WithName("the pool")),
		dispatcher.NewSubscription(&id{"x"}, "tx"),
	); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d.Stats().Subscribers)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"ID":"pool"`, `"Policy":"lossless"`, `"ID":"the pool"`, `"Policy":"drop-newest"`, `"ID":"*dispatcher_test.id"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	var back []dispatcher.SubscriberStats
	if err := json.Unmarshal(text, &back); err != nil || len(back) != 3 || back[0].Name != "pool" || back[0].Policy != dispatcher.Lossless {
		t.Errorf("%+v, %v", back, err)
	}
	var p dispatcher.Policy
	if err := p.UnmarshalText([]byte("no such")); !errors.Is(err, dispatcher.ErrInvalidOption) {
		t.Errorf("unknown policy: %v", err)
	}
}

// A type is worth the most that one of its subscribers says.
func TestWeight(t *testing.T) {
	d := start(t, dispatcher.Config{},
		dispatcher.NewSubscription("a", "tx", dispatcher.WithWeight(7)), dispatcher.NewSubscription("b", "tx"),
		&external{id: "c", typ: "block"})
	for typ, want := range map[string]dispatcher.MessageWeight{"tx": 7, "block": 1, "other": 0} {
		if got := d.Weight(typ); got != want {
			t.Errorf("%s: %d, want %d", typ, got, want)
		}
	}
}
