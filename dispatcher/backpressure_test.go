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
		m := newMailbox("m", "tx", false, 1)
		d := start(t, dispatcher.Config{QueueSize: 4}, m)
		put(t, d, "tx", numbers(0, 5)...) // one in the mailbox, four in the queue
		synctest.Wait()
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
		var got []string
		for range 8 {
			got = append(got, m.empty()...)
			synctest.Wait()
		}
		want(t, "got", got, numbers(0, 8))
		if s := typeStats(d, "tx"); s.Refused != 1 || s.DroppedTotal() != 0 || s.Received != 8 {
			t.Errorf("%+v", s)
		}
	})
}

// A batch that waits lets its order alone and says how much was taken.
func TestBatchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox("m", "tx", true, 1)
		d := start(t, dispatcher.Config{QueueSize: 4}, m)
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
		for range 10 {
			synctest.Wait()
			got = append(got, m.empty()...)
		}
		synctest.Wait()
		cancel()
		r := <-done
		if !errors.Is(r.err, context.Canceled) || r.n < 10 || r.n > 15 {
			t.Errorf("batch: %d, %v", r.n, r.err)
		}
		for range 10 {
			synctest.Wait()
			got = append(got, m.empty()...)
		}
		want(t, "got", got, numbers(0, r.n))
		if s := typeStats(d, "tx"); s.Received != uint64(r.n) {
			t.Errorf("took %d, received %+v", r.n, s)
		}
	})
}

// Without anybody lossless a full queue is an error at once, and a counted
// drop. Here the loop is held up, so that the queue fills.
func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		e := &external{id: "slow", typ: "tx", deliver: func(dispatcher.Message) bool { <-gate; return true }}
		d := start(t, dispatcher.Config{QueueSize: 4}, e)
		put(t, d, "tx", "0")
		synctest.Wait()
		put(t, d, "tx", "1", "2", "3")
		if err := d.PutMessage(msg("tx", "4")); !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("put: %v", err)
		}
		n, err := d.PutMessages(t.Context(), []dispatcher.Message{msg("tx", "5"), msg("other", "6"), nil, msg("other", "7")})
		if n != 2 || !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("batch: %d, %v", n, err)
		}
		close(gate)
		synctest.Wait()
		if s := typeStats(d, "tx"); s.Received != 6 || s.Delivered != 4 || s.Dropped[dispatcher.DropQueueFull] != 2 {
			t.Errorf("%+v", s)
		}
		if s := d.Stats().Other; s.Unrouted != 2 {
			t.Errorf("other: %+v", s)
		}
	})
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{QueueSize: 1}, newMailbox("m", "tx", false, 0))
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
		d := start(t, dispatcher.Config{QueueSize: 1}, newMailbox("m", "tx", false, 0))
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
		if s := typeStats(d, "tx"); s.Received != 1 || s.Refused != 3 || s.Dropped[dispatcher.DropStopped] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// When the lossless subscriber leaves, those who wait for it go on.
func TestWaitEndsWithDeregister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox("m", "tx", false, 0)
		d := start(t, dispatcher.Config{QueueSize: 1}, m)
		put(t, d, "tx", "0")
		go put(t, d, "tx", "1")
		synctest.Wait()
		if err := d.Deregister(m); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := typeStats(d, "tx"); s.Unrouted != 2 || s.Waiting != 0 {
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
		m := newMailbox("m", "tx", false, 0)
		d := start(t, dispatcher.Config{QueueBytes: 10}, m)
		put(t, d, "tx", "12345678")
		go put(t, d, "tx", "large")
		synctest.Wait()
		if err := d.TryPutMessage(msg("tx", "x")); !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("overtaking: %v", err)
		}
		go put(t, d, "tx", "y")
		synctest.Wait()
		m.setLimit(10)
		m.room()
		synctest.Wait()
		want(t, "got", m.empty(), []string{"12345678", "large", "y"})
	})
}

// Room that comes while the refusal is still on its way is not overlooked.
func TestRoomDuringRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox("m", "tx", false, 10)
		calls := 0
		m.deliver = func(msg dispatcher.Message) bool {
			if calls++; calls == 1 {
				m.room()
				return false
			}
			return m.take(msg)
		}
		d := start(t, dispatcher.Config{TickInterval: time.Hour}, m)
		put(t, d, "tx", "1")
		synctest.Wait()
		want(t, "got", m.empty(), []string{"1"})
	})
}

// When the last lossless subscriber has left, a full queue is an error again.
func TestNobodyLosslessAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		m := newMailbox("m", "tx", false, 0)
		d := start(t, dispatcher.Config{QueueSize: 1}, m,
			&external{id: "slow", typ: "tx", deliver: func(dispatcher.Message) bool { <-gate; return true }})
		if err := d.Deregister(m); err != nil {
			t.Fatal(err)
		}
		put(t, d, "tx", "1")
		if err := d.PutMessage(msg("tx", "2")); !errors.Is(err, dispatcher.ErrQueueFull) {
			t.Errorf("put: %v", err)
		}
		close(gate)
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
		var batch []dispatcher.Message
		for _, text := range numbers(0, 20) {
			batch = append(batch, msg("tx", text))
		}
		began := time.Now()
		if _, err := d.PutMessages(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if err := d.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*time.Second || len(r.got()) != 20 {
			t.Errorf("took %v for %d", took, len(r.got()))
		}
	})
}
