package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// Publishers of a lossless type wait, one after the other, and lose nothing.
func TestPublishersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnread("u", "tx", false, 5)
		d := start(t, dispatcher.Config{}, u)
		put(t, d, "tx", numbers(0, 5)...)
		for i := 5; i < 8; i++ {
			go put(t, d, "tx", fmt.Sprint(i))
			synctest.Wait() // they come in this order
		}
		if s := typeStats(d, "tx"); s.Waiting != 3 || s.Received != 5 {
			t.Errorf("%+v", s)
		}
		if err := d.TryPutMessage(msg("tx", "never")); !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("try: %v", err)
		}
		want(t, "got", read(t, u), numbers(0, 8))
		if s := typeStats(d, "tx"); s.Refused != 1 || s.DroppedTotal() != 0 || s.Received != 8 {
			t.Errorf("%+v", s)
		}
	})
}

// The queue of every lossless subscriber counts: the smallest one decides, and
// nobody gets more than it has places for.
func TestEveryLosslessGivesCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small, large := newUnread("small", "tx", false, 2), newUnread("large", "tx", false, 5)
		d := start(t, dispatcher.Config{}, large, small)
		go put(t, d, "tx", numbers(0, 10)...)
		synctest.Wait()
		waiting := func(sub any) int { return subStats(t, d, sub).Queued }
		if waiting("small") != 2 || waiting("large") != 2 {
			t.Errorf("%d and %d wait, want 2 each", waiting("small"), waiting("large"))
		}
		got := read(t, small)
		want(t, "small", got, numbers(0, 5)) // until large is full
		want(t, "large", read(t, large), numbers(0, 7))
		for range 3 {
			got = append(got, read(t, small)...)
			read(t, large)
		}
		want(t, "small", got, numbers(0, 10))
	})
}

// A batch that waits lets its order alone and says how much was taken.
func TestBatchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnread("u", "tx", true, 5)
		d := start(t, dispatcher.Config{}, u)
		var batch []dispatcher.Message
		for _, text := range numbers(0, 200) {
			batch = append(batch, msg("tx", text))
		}
		ctx, cancel := context.WithCancel(t.Context())
		type result struct {
			n   int
			err error
		}
		done := make(chan result)
		go func() {
			n, err := d.PutMessages(ctx, batch)
			done <- result{n, err}
		}()
		var got []string
		for m := range some(t, u) {
			if got = append(got, string(m.Data())); len(got) == 10 {
				break
			}
		}
		synctest.Wait()
		cancel()
		r := <-done
		if !errors.Is(r.err, context.Canceled) || r.n < 15 || r.n > 16 {
			t.Errorf("batch: %d, %v", r.n, r.err)
		}
		if s := typeStats(d, "tx"); s.Received != uint64(r.n) {
			t.Errorf("took %d, received %+v", r.n, s)
		}
		want(t, "got", append(got, read(t, u)...), numbers(0, r.n))
	})
}

// Without anybody lossless a full inbox is an error at once, and a counted
// drop. Here the loop has not started on it yet.
func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message, 8)
		d := start(t, dispatcher.Config{QueueBytes: 4}, dispatcher.NewSubscriber("s", ch, false, "tx", 1))
		// One call puts the run of a type under one lock.
		n, err := d.PutMessages(t.Context(), []dispatcher.Message{
			msg("tx", "1"), msg("tx", "234"), msg("tx", "5"), msg("other", "6"), nil, msg("other", "7"),
		})
		if n != 4 || !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("batch: %d, %v", n, err)
		}
		want(t, "got", drain(ch), []string{"1", "234"})
		if s := typeStats(d, "tx"); s.Received != 3 || s.Delivered != 2 || s.Dropped[dispatcher.DropQueueFull] != 1 {
			t.Errorf("%+v", s)
		}
		if s := d.Stats().Other; s.Unrouted != 2 {
			t.Errorf("other: %+v", s)
		}
	})
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{}, newUnread("u", "tx", false, 1))
		put(t, d, "tx", "0")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := d.PutMessageContext(ctx, msg("tx", "1"))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		if s := typeStats(d, "tx"); s.Refused != 1 || s.Received != 1 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWaitEndsWithStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{}, newUnread("u", "tx", false, 1))
		put(t, d, "tx", "0")
		errs := make(chan error, 2)
		go func() { errs <- d.PutMessage(msg("tx", "1")) }()
		go func() {
			_, err := d.PutMessages(context.Background(), []dispatcher.Message{msg("tx", "2"), msg("tx", "3")})
			errs <- err
		}()
		synctest.Wait()
		err := d.Stop(t.Context())
		for range 2 {
			if err := <-errs; !errors.Is(err, dispatcher.ErrClosed) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("publisher: %v", err)
			}
		}
		var lost *dispatcher.UndeliveredError
		if !errors.As(err, &lost) || lost.Types["tx"] != 1 {
			t.Errorf("stop: %v", err)
		}
		if s := typeStats(d, "tx"); s.Received != 1 || s.Refused != 3 {
			t.Errorf("%+v", s)
		}
		if s := subStats(t, d, "u"); s.Dropped[dispatcher.DropStopped] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// When the lossless subscriber leaves, those who wait for it go on.
func TestWaitEndsWithDeregister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnread("u", "tx", false, 1)
		d := start(t, dispatcher.Config{}, u)
		put(t, d, "tx", "0")
		go put(t, d, "tx", "1")
		synctest.Wait()
		if err := d.Deregister(u); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := typeStats(d, "tx"); s.Unrouted != 1 || s.Delivered != 1 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A type whose lossless subscriber sleeps delays no other type: in virtual time
// the others need none at all.
func TestSleeperDelaysItsOwnTypeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var worst time.Duration
		d := start(t, dispatcher.Config{QueueSize: 10},
			dispatcher.NewHandler("sleeper", "slow", func(context.Context, dispatcher.Message) {
				time.Sleep(time.Second)
			}, dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1)),
			dispatcher.NewSubscriber("unread", make(chan dispatcher.Message), false, "unread", 1,
				dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1)),
			dispatcher.NewHandler("h", "quick", func(_ context.Context, m dispatcher.Message) {
				at, err := time.Parse(time.RFC3339Nano, string(m.Data()))
				if err != nil {
					t.Error(err)
				}
				worst = max(worst, time.Since(at))
			}),
		)
		ctx, cancel := context.WithCancel(t.Context())
		for _, typ := range []string{"slow", "unread"} {
			go func() {
				for d.PutMessageContext(ctx, msg(typ, "x")) == nil {
				}
			}()
		}
		for range 100 {
			time.Sleep(time.Millisecond)
			put(t, d, "quick", time.Now().Format(time.RFC3339Nano))
		}
		synctest.Wait()
		if worst != 0 {
			t.Errorf("a quick message took %v", worst)
		}
		cancel()
		synctest.Wait()
		if s := typeStats(d, "quick"); s.Delivered != 100 {
			t.Errorf("%+v", s)
		}
	})
}

// Who waits comes before who comes later, also when that one would fit.
func TestWaitersFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueueBytes(10))
		d := start(t, dispatcher.Config{}, sub)
		put(t, d, "tx", "12345678")
		go put(t, d, "tx", "large")
		synctest.Wait()
		if err := d.TryPutMessage(msg("tx", "x")); !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("overtaking: %v", err)
		}
		go put(t, d, "tx", "y")
		synctest.Wait()
		want(t, "got", read(t, sub), []string{"12345678", "large", "y"})
	})
}

// When one that waits gives up, the next one that fits goes on.
func TestNextOneWhenOneGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueueBytes(10))
		d := start(t, dispatcher.Config{}, sub)
		put(t, d, "tx", "12345678")
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = d.PutMessageContext(ctx, msg("tx", "large")) }()
		synctest.Wait()
		go put(t, d, "tx", "y")
		synctest.Wait()
		cancel()
		synctest.Wait()
		if s := typeStats(d, "tx"); s.Waiting != 0 || s.Received != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// When the last lossless subscriber has left, a full inbox is an error again.
func TestNobodyLosslessAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnread("u", "tx", false, 1)
		d := start(t, dispatcher.Config{QueueBytes: 1}, u,
			dispatcher.NewSubscriber("s", make(chan dispatcher.Message, 8), false, "tx", 1))
		if err := d.Deregister(u); err != nil {
			t.Fatal(err)
		}
		n, err := d.PutMessages(t.Context(), []dispatcher.Message{msg("tx", "1"), msg("tx", "2")})
		if n != 1 || !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("put: %d, %v", n, err)
		}
	})
}

// Workers work at the same time, and begin in order.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := start(t, dispatcher.Config{}, dispatcher.NewHandler("h", "tx", func(ctx context.Context, m dispatcher.Message) {
			r.add(ctx, m)
			time.Sleep(time.Second)
		}, dispatcher.WithWorkers(10)))
		began := time.Now()
		putBatch(t, d, "tx", numbers(0, 20)...)
		if err := d.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*time.Second || len(r.got()) != 20 {
			t.Errorf("took %v for %d", took, len(r.got()))
		}
	})
}
