package dispatcher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-nebnet/nebnet/dispatcher"
)

func TestRegisterErrors(t *testing.T) {
	ch := make(chan dispatcher.Message, 1)
	fn := func(context.Context, dispatcher.Message) {}
	used := dispatcher.NewSubscription("used", "tx")
	d, err := dispatcher.New(dispatcher.Config{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Register(dispatcher.NewSubscriber("taken", ch, false, "tx", 1), used); err != nil {
		t.Fatal(err)
	}
	if err := d.Deregister(used); err != nil {
		t.Fatal(err)
	}
	var nilChan *dispatcher.ChanSubscriber
	var nilHandler *dispatcher.Handler
	var nilSub *dispatcher.Subscription
	lossless := dispatcher.WithPolicy(dispatcher.Lossless)
	for name, c := range map[string]struct {
		sub  dispatcher.Subscriber
		want error
	}{
		"nil":                 {nil, dispatcher.ErrNilSubscriber},
		"nil ChanSubscriber":  {nilChan, dispatcher.ErrNilSubscriber},
		"nil Handler":         {nilHandler, dispatcher.ErrNilSubscriber},
		"nil Subscription":    {nilSub, dispatcher.ErrNilSubscriber},
		"nil channel":         {dispatcher.NewSubscriber(1, nil, false, "tx", 1), dispatcher.ErrNilChannel},
		"nil function":        {dispatcher.NewHandler(1, "tx", nil), dispatcher.ErrNilHandler},
		"nil ID":              {dispatcher.NewSubscriber(nil, ch, false, "tx", 1), dispatcher.ErrInvalidID},
		"slice as ID":         {dispatcher.NewSubscriber([]int{1}, ch, false, "tx", 1), dispatcher.ErrInvalidID},
		"slice within ID":     {dispatcher.NewSubscriber([1]any{[]int{1}}, ch, false, "tx", 1), dispatcher.ErrInvalidID},
		"empty type":          {dispatcher.NewSubscriber(1, ch, false, "", 1), dispatcher.ErrInvalidType},
		"long type":           {dispatcher.NewSubscriber(1, ch, false, strings.Repeat("x", 65), 1), dispatcher.ErrInvalidType},
		"type with slash":     {dispatcher.NewHandler(1, "a/b", fn), dispatcher.ErrInvalidType},
		"taken":               {dispatcher.NewHandler("taken", "tx", fn), dispatcher.ErrDuplicateSubscriber},
		"subscription twice":  {used, dispatcher.ErrDuplicateSubscriber},
		"key missing":         {dispatcher.NewHandler(1, "tx", fn, dispatcher.WithPolicy(dispatcher.NewestPerKey)), dispatcher.ErrInvalidOption},
		"unknown policy":      {dispatcher.NewHandler(1, "tx", fn, dispatcher.WithPolicy(99)), dispatcher.ErrInvalidOption},
		"no queue":            {dispatcher.NewHandler(1, "tx", fn, lossless, dispatcher.WithQueue(0)), dispatcher.ErrInvalidOption},
		"no bytes":            {dispatcher.NewSubscription(1, "tx", dispatcher.WithQueueBytes(-1)), dispatcher.ErrInvalidOption},
		"no workers":          {dispatcher.NewHandler(1, "tx", fn, dispatcher.WithWorkers(0)), dispatcher.ErrInvalidOption},
		"too many workers":    {dispatcher.NewHandler(1, "tx", fn, dispatcher.WithWorkers(dispatcher.MaxWorkers+1)), dispatcher.ErrInvalidOption},
		"oldest of no buffer": {dispatcher.NewSubscriber(1, make(chan dispatcher.Message), false, "tx", 1, dispatcher.WithPolicy(dispatcher.DropOldest)), dispatcher.ErrInvalidOption},
		"embedded, hidden":    {&wrapper{ChanSubscriber: dispatcher.NewSubscriber(1, ch, false, "tx", 1, lossless)}, dispatcher.ErrInvalidOption},
	} {
		t.Run(name, func(t *testing.T) {
			good := dispatcher.NewSubscriber("good", ch, false, "tx", 1)
			err := d.Register(good, c.sub)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			var se *dispatcher.SubscriberError
			if !errors.As(err, &se) {
				t.Errorf("%T is no SubscriberError", err)
			}
			// All or none: the good one was not registered.
			if err := d.Deregister(good); !errors.Is(err, dispatcher.ErrNotRegistered) {
				t.Errorf("the good one: %v", err)
			}
		})
	}
	if err := d.Deregister(nil, nilChan); !errors.Is(err, dispatcher.ErrNilSubscriber) {
		t.Errorf("deregister nil: %v", err)
	}
	if n := len(d.Stats().Subscribers); n != 1 {
		t.Errorf("%d subscribers, want 1", n)
	}
}

func TestPutErrors(t *testing.T) {
	d := start(t, dispatcher.Config{})
	var none *dispatcher.BasicMessage
	for name, c := range map[string]struct {
		m    dispatcher.Message
		want error
	}{
		"nil":       {nil, dispatcher.ErrNilMessage},
		"nil basic": {none, dispatcher.ErrNilMessage},
		"no type":   {msg("", "x"), dispatcher.ErrInvalidType},
		"bad type":  {msg("a b", "x"), dispatcher.ErrInvalidType},
		"unrouted":  {msg("nobody", "x"), nil},
	} {
		if err := d.PutMessage(c.m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	n, err := d.PutMessages(t.Context(), []dispatcher.Message{nil, msg("nobody", "x"), msg("", "x"), msg("nobody", "x")})
	if n != 2 || !errors.Is(err, dispatcher.ErrNilMessage) {
		t.Errorf("batch: %d, %v", n, err)
	}
	if s := d.Stats(); s.Other.Unrouted != 3 || s.Total.Received != 3 || len(s.Types) != 0 {
		t.Errorf("%+v", s)
	}
}

// A subscriber gets what is put after it was registered, and nothing else.
func TestRegisterWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{})
		put(t, d, "tx", "early")
		ch := make(chan dispatcher.Message, 8)
		var r recorder
		if err := d.Register(dispatcher.NewSubscriber("c", ch, false, "tx", 1), dispatcher.NewHandler("h", "tx", r.add)); err != nil {
			t.Fatal(err)
		}
		put(t, d, "tx", "1", "2")
		want(t, "channel", drain(ch), []string{"1", "2"})
		want(t, "handler", r.got(), []string{"1", "2"})
	})
}

// What waits for a handler when it is deregistered is dropped and counted; the
// call that runs goes on, also if it is that one that deregisters.
func TestDeregisterHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var d *dispatcher.Dispatcher
		var h *dispatcher.Handler
		h = dispatcher.NewHandler("h", "tx", func(ctx context.Context, m dispatcher.Message) {
			r.add(ctx, m)
			if err := d.Deregister(h); err != nil {
				t.Error(err)
			}
			if ctx.Err() != nil {
				t.Error("the context has ended")
			}
		})
		d = start(t, dispatcher.Config{})
		if err := d.Register(h); err != nil {
			t.Fatal(err)
		}
		put(t, d, "tx", "1", "2", "3")
		synctest.Wait()
		want(t, "called for", r.got(), []string{"1"})
		if err := d.Register(h); err != nil {
			t.Fatalf("register again: %v", err)
		}
		put(t, d, "tx", "5")
		synctest.Wait()
		want(t, "called for", r.got(), []string{"1", "5"})
	})
}

func TestDeregisterClosesChannel(t *testing.T) {
	for _, policy := range []dispatcher.Policy{dispatcher.DropNewest, dispatcher.Lossless} {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan dispatcher.Message, 2)
			sub := dispatcher.NewSubscriber("c", ch, false, "tx", 1, dispatcher.WithCloseChannel(), dispatcher.WithPolicy(policy))
			d := start(t, dispatcher.Config{}, sub)
			put(t, d, "tx", "1", "2", "3")
			synctest.Wait()
			if err := d.Deregister(sub); err != nil {
				t.Fatal(err)
			}
			var got []string
			for m := range ch {
				got = append(got, string(m.Data()))
			}
			want(t, "before the close", got, []string{"1", "2"})
		})
	}
}

func TestConfig(t *testing.T) {
	bad := dispatcher.Config{QueueSize: -1, QueueBytes: -1, FilterSize: 1 << 30, StopTimeout: -1, TickInterval: time.Microsecond}
	_, err := dispatcher.New(bad)
	for _, field := range []string{"QueueSize", "QueueBytes", "FilterSize", "StopTimeout", "TickInterval"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in: %v", field, err)
		}
	}
	var ce *dispatcher.ConfigError
	if !errors.As(err, &ce) {
		t.Errorf("%T is no ConfigError", err)
	}
	if err := (dispatcher.Config{}).Validate(); err != nil {
		t.Errorf("zero: %v", err)
	}
	text, err := json.Marshal(dispatcher.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var back dispatcher.Config
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dispatcher.DefaultConfig(), back); diff != "" {
		t.Error(diff)
	}
}

func TestErrorTexts(t *testing.T) {
	err := &dispatcher.UndeliveredError{Types: map[string]int{"tx": 2, "block": 1}, Stuck: []string{"a/tx", "b/tx"}}
	const text = "stopped before everything was delivered; 1 of block; 2 of tx; still running: a/tx, b/tx"
	if err.Error() != text || err.Temporary() {
		t.Errorf("%v", err)
	}
	for want, id := range map[string]any{
		"7": 7, "pool": "pool", strings.Repeat("x", 64): strings.Repeat("x", 65), "<nil>": nil, "*testing.T": t,
	} {
		err := &dispatcher.SubscriberError{ID: id, Type: "tx", Err: dispatcher.ErrNotRegistered}
		if got, want := err.Error(), "subscriber "+want+` of type "tx": not registered`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for p, name := range map[dispatcher.Policy]string{
		dispatcher.DropNewest: "drop-newest", dispatcher.DropOldest: "drop-oldest",
		dispatcher.NewestPerKey: "newest-per-key", dispatcher.Lossless: "lossless", 9: "Policy(9)",
	} {
		if fmt.Sprint(p) != name {
			t.Errorf("%v, want %s", p, name)
		}
	}
}
