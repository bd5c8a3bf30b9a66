package dispatcher_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

func TestLifeCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := dispatcher.New(dispatcher.Config{}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.PutMessage(msg("tx", "1")); !errors.Is(err, dispatcher.ErrNotStarted) {
			t.Errorf("put before Start: %v", err)
		}
		if n, err := d.PutMessages(t.Context(), []dispatcher.Message{msg("tx", "1")}); n != 0 || !errors.Is(err, dispatcher.ErrNotStarted) {
			t.Errorf("batch before Start: %d, %v", n, err)
		}
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		if err := d.Start(); !errors.Is(err, dispatcher.ErrStarted) {
			t.Errorf("second Start: %v", err)
		}
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"Start":    d.Start(),
			"Put":      d.PutMessage(msg("tx", "1")),
			"TryPut":   d.TryPutMessage(msg("tx", "1")),
			"Register": d.Register(dispatcher.NewSubscriber(1, make(chan dispatcher.Message), false, "tx", 1)),
		} {
			if !errors.Is(err, dispatcher.ErrClosed) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Stop: %v", name, err)
			}
		}
	})
}

func TestStopBeforeStart(t *testing.T) {
	d, err := dispatcher.New(dispatcher.Config{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan dispatcher.Message)
	h := dispatcher.NewHandler("h", "tx", func(context.Context, dispatcher.Message) {})
	if err := d.Register(dispatcher.NewSubscriber(1, ch, false, "tx", 1, dispatcher.WithCloseChannel()), h); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	if _, open := <-ch; open {
		t.Error("the channel is open")
	}
	if err := d.Start(); !errors.Is(err, dispatcher.ErrClosed) {
		t.Errorf("start: %v", err)
	}
}

// A handler that heeds its context returns in the last quarter of the time;
// what waited behind it is lost and reported.
func TestStopEndsHandlersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{StopTimeout: 4 * time.Second},
			dispatcher.NewHandler("polite", "tx", func(ctx context.Context, _ dispatcher.Message) { <-ctx.Done() }))
		put(t, d, "tx", numbers(0, 10)...)
		began := time.Now()
		err := d.Stop(t.Context())
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v, want 3s", took)
		}
		var lost *dispatcher.UndeliveredError
		if !errors.As(err, &lost) || lost.Types["tx"] != 9 || len(lost.Stuck) != 0 {
			t.Errorf("stop: %v", err)
		}
		if again := d.Stop(t.Context()); !errors.Is(again, err) {
			t.Errorf("second stop: %v", again)
		}
		if s := subStats(t, d, "polite"); s.Delivered != 1 || s.Dropped[dispatcher.DropStopped] != 9 {
			t.Errorf("%+v", s)
		}
	})
}

// A handler that ignores its context does not keep Stop beyond its deadline,
// and is named.
func TestStopNamesStuckHandler(t *testing.T) {
	for _, c := range []struct {
		name  string
		bound func(context.Context) (context.Context, context.CancelFunc)
		took  time.Duration
	}{
		{"StopTimeout", context.WithCancel, 4 * time.Second},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, time.Second},
		{"cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				d := start(t, dispatcher.Config{StopTimeout: 4 * time.Second},
					dispatcher.NewHandler("deaf", "tx", func(context.Context, dispatcher.Message) { <-release }),
					dispatcher.NewHandler("left", "tx", func(context.Context, dispatcher.Message) { <-release }),
				)
				put(t, d, "tx", "1", "2")
				synctest.Wait()
				if err := d.Deregister(dispatcher.NewSubscriber("left", nil, false, "tx", 0)); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := c.bound(t.Context())
				defer cancel()
				began := time.Now()
				err := d.Stop(ctx)
				if took := time.Since(began); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				var lost *dispatcher.UndeliveredError
				if !errors.As(err, &lost) || !slices.Equal(lost.Stuck, []string{"deaf/tx", "left/tx"}) || lost.Types["tx"] != 1 {
					t.Errorf("stop: %v", err)
				}
				var timeout net.Error
				if !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("%v is no timeout", err)
				}
				close(release)
				synctest.Wait()
			})
		})
	}
}

// A Deliver that blocks does not keep Stop either, and what comes after it is not delivered behind the back of Stop.
func TestStopNamesStuckDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		calls := 0
		e := &external{id: "deaf", typ: "tx", deliver: func(dispatcher.Message) bool { calls++; <-release; return true }}
		d := start(t, dispatcher.Config{StopTimeout: time.Second}, e)
		put(t, d, "tx", "1", "2", "3")
		err := d.Stop(t.Context())
		var lost *dispatcher.UndeliveredError
		if !errors.As(err, &lost) || !slices.Equal(lost.Stuck, []string{"deaf/tx"}) || lost.Types["tx"] == 0 {
			t.Errorf("stop: %v", err)
		}
		close(release)
		synctest.Wait()
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
		if s := d.Stats().Subscribers[0]; s.Delivered != 1 || s.Dropped[dispatcher.DropStopped] != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// Everything that was admitted before Stop is handed over, if there is time.
func TestStopWaitsForSlowOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow, workers atomic.Int32
		ch := make(chan dispatcher.Message)
		sub := dispatcher.NewSubscription("sub", "tx")
		d := start(t, dispatcher.Config{QueueSize: 1000, StopTimeout: time.Hour},
			dispatcher.NewHandler("slow", "tx", func(context.Context, dispatcher.Message) {
				time.Sleep(time.Second)
				slow.Add(1)
			}, dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(100)),
			dispatcher.NewHandler("workers", "tx", func(context.Context, dispatcher.Message) {
				time.Sleep(time.Second)
				workers.Add(1)
			}, dispatcher.WithWorkers(10)),
			dispatcher.NewSubscriber("chan", ch, false, "tx", 1, dispatcher.WithPolicy(dispatcher.Lossless),
				dispatcher.WithQueue(100), dispatcher.WithCloseChannel()),
			sub,
		)
		put(t, d, "tx", numbers(0, 100)...)
		var fromChan, fromSub []string
		var readers sync.WaitGroup
		readers.Go(func() {
			for m := range ch {
				time.Sleep(time.Second)
				fromChan = append(fromChan, string(m.Data()))
			}
		})
		readers.Go(func() {
			for m := range sub.All(context.Background()) { // ends with Stop
				fromSub = append(fromSub, string(m.Data()))
			}
		})
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if slow.Load() != 100 || workers.Load() != 100 {
			t.Errorf("slow %d, workers %d, want 100 each", slow.Load(), workers.Load())
		}
		readers.Wait()
		want(t, "channel", fromChan, numbers(0, 100))
		want(t, "subscription", fromSub, numbers(0, 100))
	})
}

// Several Stops at once: one does it, the others wait as long as they may.
func TestConcurrentStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{StopTimeout: time.Hour},
			dispatcher.NewHandler("h", "tx", func(context.Context, dispatcher.Message) { time.Sleep(10 * time.Second) }))
		put(t, d, "tx", "1")
		synctest.Wait()
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- d.Stop(context.Background()) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("impatient: %v", err)
		}
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}
