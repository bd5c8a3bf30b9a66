package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// Every policy, for every kind of subscriber that has policies, while it does
// not read, and then reads everything.
func TestPolicies(t *testing.T) {
	key := dispatcher.WithKey(func(m dispatcher.Message) string { return string(m.Data()[:1]) })
	for _, c := range []struct {
		policy  dispatcher.SubscriberOption
		name    string
		put     []string
		channel []string // a channel of 2, and a queue of 2 where there is one
		queue   []string // a queue of 2
		reason  dispatcher.DropReason
		lost    [2]uint64 // channel, queue
	}{
		{
			dispatcher.WithPolicy(dispatcher.DropNewest), "drop-newest", []string{"a1", "b1", "c1", "d1"},
			[]string{"a1", "b1"}, []string{"a1", "b1"}, dispatcher.DropSubscriberFull, [2]uint64{2, 2},
		},
		{
			dispatcher.WithPolicy(dispatcher.DropOldest), "drop-oldest", []string{"a1", "b1", "c1", "d1"},
			[]string{"c1", "d1"}, []string{"c1", "d1"}, dispatcher.DropOldestWaiting, [2]uint64{2, 2},
		},
		{
			// The channel has a1 and b1 already, and c1 is on its way into it.
			key, "newest-per-key", []string{"a1", "b1", "c1", "a2", "b2", "a3"},
			[]string{"a1", "b1", "c1", "a3", "b2"}, []string{"a3", "b2"}, dispatcher.DropReplaced, [2]uint64{1, 0},
		},
		{
			dispatcher.WithPolicy(dispatcher.Lossless), "lossless", []string{"a1", "b1", "c1", "d1", "e1", "f1", "g1"},
			[]string{"a1", "b1", "c1", "d1", "e1", "f1", "g1"}, []string{"a1", "b1", "c1", "d1", "e1", "f1", "g1"}, "", [2]uint64{},
		},
	} {
		t.Run(c.name+"/channel", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ch := make(chan dispatcher.Message, 2)
				d := start(t, dispatcher.Config{},
					dispatcher.NewSubscriber("s", ch, false, "tx", 1, c.policy, dispatcher.WithQueue(2)))
				for _, text := range c.put {
					go put(t, d, "tx", text) // may wait
					synctest.Wait()
				}
				want(t, "got", drain(ch), c.channel)
				if got := subStats(t, d, "s").Dropped[c.reason]; got != c.lost[0] {
					t.Errorf("lost %d as %s, want %d", got, c.reason, c.lost[0])
				}
			})
		})
		t.Run(c.name+"/subscription", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sub := dispatcher.NewSubscription("s", "tx", c.policy, dispatcher.WithQueue(2))
				d := start(t, dispatcher.Config{}, sub)
				for _, text := range c.put {
					go put(t, d, "tx", text) // may wait
					synctest.Wait()
				}
				ctx, cancel := context.WithCancel(t.Context())
				var got []string
				done := make(chan struct{})
				go func() {
					defer close(done)
					for m := range sub.All(ctx) {
						got = append(got, string(m.Data()))
					}
				}()
				synctest.Wait()
				cancel()
				<-done
				want(t, "got", got, c.queue)
				if c.lost[1] > 0 && subStats(t, d, "s").Dropped[c.reason] != c.lost[1] {
					t.Errorf("%+v, want %d lost as %s", subStats(t, d, "s"), c.lost[1], c.reason)
				}
			})
		})
		t.Run(c.name+"/handler", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r recorder
				release := make(chan struct{})
				d := start(t, dispatcher.Config{}, dispatcher.NewHandler("s", "tx", func(ctx context.Context, m dispatcher.Message) {
					<-release
					r.add(ctx, m)
				}, c.policy, dispatcher.WithQueue(2)))
				put(t, d, "tx", "first")
				synctest.Wait() // the worker has it
				for _, text := range c.put {
					go put(t, d, "tx", text) // may wait
					synctest.Wait()
				}
				close(release)
				synctest.Wait()
				want(t, "got", r.got(), append([]string{"first"}, c.queue...))
			})
		})
	}
}

// A queue is bounded in bytes too, but a single message always fits.
func TestQueueBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithQueueBytes(10))
		d := start(t, dispatcher.Config{}, sub)
		put(t, d, "tx", "longer than ten bytes", "x")
		synctest.Wait()
		if s := subStats(t, d, "s"); s.Queued != 1 || s.DroppedTotal() != 1 {
			t.Errorf("%+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithQueueBytes(10), dispatcher.WithPolicy(dispatcher.Lossless))
		d := start(t, dispatcher.Config{}, sub)
		put(t, d, "tx", "12345", "12345")
		if err := d.TryPutMessage(msg("tx", "6")); err == nil {
			t.Error("more bytes than the queue may hold")
		}
		want(t, "read", read(t, sub), []string{"12345", "12345"})
		put(t, d, "tx", "longer than ten bytes")
		want(t, "read", read(t, sub), []string{"longer than ten bytes"})
	})
}

// Of more keys than there is room for, the oldest is dropped.
func TestNewestPerKeyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithQueue(10),
			dispatcher.WithKey(func(m dispatcher.Message) string { return string(m.Data()) }))
		d := start(t, dispatcher.Config{}, sub)
		put(t, d, "tx", numbers(0, 1000)...)
		synctest.Wait()
		if s := subStats(t, d, "s"); s.Queued != 10 || s.Dropped[dispatcher.DropOldestWaiting] != 990 {
			t.Errorf("%+v", s)
		}
		for m := range sub.All(t.Context()) {
			want(t, "oldest that is left", []string{string(m.Data())}, []string{"990"})
			break
		}
	})
}

// A lossless subscriber does not make a droppable one of the same type lose
// what it has room for, nor wait.
func TestLosslessBesideDroppable(t *testing.T) {
	for _, filter := range []bool{false, true} {
		t.Run(fmt.Sprintf("filter=%v", filter), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stuck := newUnread("stuck", "tx", filter, 50)
				ch := make(chan dispatcher.Message, 1)
				d := start(t, dispatcher.Config{}, stuck,
					dispatcher.NewSubscriber("droppable", ch, filter, "tx", 1))
				for i := range 50 {
					put(t, d, "tx", fmt.Sprint(i))
					want(t, "droppable", drain(ch), []string{fmt.Sprint(i)})
				}
				if s := subStats(t, d, "stuck"); s.Queued != 50 {
					t.Errorf("%d wait for the lossless one, want 50", s.Queued)
				}
				if err := d.TryPutMessage(msg("tx", "50")); !errors.Is(err, dispatcher.ErrQueueFull) {
					t.Errorf("one too many: %v", err)
				}
				want(t, "lossless", read(t, stuck), numbers(0, 50))
			})
		})
	}
}

// What is no place for a message that a lossless subscriber does not get in the
// end, because it is a duplicate, is given back.
func TestDuplicatesTakeNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnread("u", "tx", true, 2)
		d := start(t, dispatcher.Config{}, u)
		for range 10 {
			put(t, d, "tx", "1")
		}
		put(t, d, "tx", "2")
		synctest.Wait()
		if s := typeStats(d, "tx"); s.Delivered != 2 || s.Duplicate != 9 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		want(t, "got", read(t, u), numbers(1, 3))
	})
}

// More subscribers that filter than one filter has bits.
func TestManyFiltering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{})
		var chans []chan dispatcher.Message
		for i := range 150 {
			ch := make(chan dispatcher.Message, 8)
			chans = append(chans, ch)
			if err := d.Register(dispatcher.NewSubscriber(i, ch, true, "tx", 1)); err != nil {
				t.Fatal(err)
			}
		}
		put(t, d, "tx", "1", "2", "1")
		for _, ch := range chans {
			want(t, "each", drain(ch), []string{"1", "2"})
		}
		// A subscriber that comes later has not taken anything, whosever bit
		// it gets.
		for i := range 100 {
			if err := d.Deregister(dispatcher.NewSubscriber(i, nil, false, "tx", 0)); err != nil {
				t.Fatal(err)
			}
		}
		late := make(chan dispatcher.Message, 8)
		if err := d.Register(dispatcher.NewSubscriber("late", late, true, "tx", 1)); err != nil {
			t.Fatal(err)
		}
		put(t, d, "tx", "1")
		want(t, "late", drain(late), []string{"1"})
		want(t, "one that stayed", drain(chans[149]), nil)
	})
}

// Subscribers that stand at the same message, of which one has taken it before
// and the other has not.
func TestFilterOfLatecomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early, late := make(chan dispatcher.Message, 8), make(chan dispatcher.Message, 8)
		d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("early", early, true, "tx", 1))
		put(t, d, "tx", "1", "2")
		want(t, "early", drain(early), []string{"1", "2"})
		if err := d.Register(dispatcher.NewSubscriber("late", late, true, "tx", 1)); err != nil {
			t.Fatal(err)
		}
		var batch []dispatcher.Message
		for _, text := range []string{"3", "1", "4", "3", "2", "1"} {
			batch = append(batch, msg("tx", text))
		}
		if _, err := d.PutMessages(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		want(t, "early", drain(early), []string{"3", "4"})
		want(t, "late", drain(late), []string{"3", "1", "4", "2"})
	})
}

// Messages that wait for a place while nobody filters get their keys in time,
// also when somebody has begun to filter meanwhile.
func TestFilterBeginsWhileTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := newUnread("full", "tx", false, 1)
		d := start(t, dispatcher.Config{}, full)
		put(t, d, "tx", "a")
		for _, text := range []string{"x", "x"} {
			go put(t, d, "tx", text)
			synctest.Wait()
		}
		go putBatch(t, d, "tx", "x", "y", "y")
		synctest.Wait()
		ch := make(chan dispatcher.Message, 8)
		if err := d.Register(dispatcher.NewSubscriber("late", ch, true, "tx", 1)); err != nil {
			t.Fatal(err)
		}
		want(t, "full", read(t, full), []string{"a", "x", "x", "x", "y", "y"})
		want(t, "late", drain(ch), []string{"x", "y"})
	})
}

// Hash of a message of another module runs in its publisher's own goroutine,
// and its panic is the publisher's own.
func TestHashPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message, 8)
		d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("s", ch, true, "tx", 1))
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = d.PutMessage(hashed{msg("tx", "1"), func() string { panic("no") }})
		}()
		put(t, d, "tx", "2")
		want(t, "got", drain(ch), []string{"2"})
	})
}

// What was dropped for a newer message was never delivered: a copy of it is no
// duplicate.
func TestNewestPerKeyForgetsWhatItDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithQueue(2), dispatcher.WithFilter(true),
			dispatcher.WithPolicy(dispatcher.NewestPerKey),
			dispatcher.WithKey(func(m dispatcher.Message) string { return string(m.Data()[:1]) }))
		d := start(t, dispatcher.Config{}, sub)
		put(t, d, "tx", "a1", "a2", "a1") // replaced by a2, and back
		put(t, d, "tx", "b1", "c1", "a1") // a1 is pushed out, and comes again
		synctest.Wait()
		if s := subStats(t, d, "s"); s.Duplicate != 0 {
			t.Errorf("%+v", s)
		}
		var got []string
		for m := range sub.All(t.Context()) {
			if got = append(got, string(m.Data())); len(got) == 2 {
				break
			}
		}
		want(t, "left", got, []string{"c1", "a1"})
	})
}
