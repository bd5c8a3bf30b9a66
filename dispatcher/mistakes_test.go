package dispatcher_test

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// Mistakes that dispatchers of this kind have made before.

// Registering while messages arrive raced on the map of filters.
func TestRegisterWhileReceiving(t *testing.T) {
	d := start(t, dispatcher.Config{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				ch := make(chan dispatcher.Message, 8)
				sub := dispatcher.NewSubscriber(w, ch, i%2 == 0, "block", 1)
				if err := d.Register(sub); err != nil {
					t.Error(err)
				}
				if err := d.PutMessage(msg("block", fmt.Sprint(i%10))); err != nil {
					t.Error(err)
				}
				if err := d.Deregister(sub); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Deregister compared pointers, so nothing was removed, and switched the filter
// off for everybody.
func TestDeregisterByIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, stays := make(chan dispatcher.Message, 8), make(chan dispatcher.Message, 8)
		d := start(t, dispatcher.Config{},
			dispatcher.NewSubscriber("gone", gone, true, "block", 1),
			dispatcher.NewSubscriber("stays", stays, true, "block", 1),
		)
		put(t, d, "block", "1", "1")
		synctest.Wait()
		if err := d.Deregister(dispatcher.NewSubscriber("gone", nil, false, "block", 0)); err != nil {
			t.Fatal(err)
		}
		put(t, d, "block", "1", "2", "2")
		want(t, "deregistered", drain(gone), []string{"1"})
		want(t, "the other one", drain(stays), []string{"1", "2"})

		err := d.Deregister(dispatcher.NewSubscriber("gone", nil, false, "block", 0))
		if !errors.Is(err, dispatcher.ErrNotRegistered) {
			t.Errorf("deregistered twice: %v", err)
		}
		err = d.Deregister(dispatcher.NewSubscriber("stays", nil, false, "tx", 0))
		if !errors.Is(err, dispatcher.ErrNotRegistered) {
			t.Errorf("same ID, other type: %v", err)
		}
	})
}

// The last registered subscriber's filter flag won for all.
func TestFilterIsTheSubscribersOwn(t *testing.T) {
	for _, order := range [][]bool{{true, false}, {false, true}} {
		synctest.Test(t, func(t *testing.T) {
			chans := map[bool]chan dispatcher.Message{}
			d := start(t, dispatcher.Config{})
			for _, filter := range order {
				chans[filter] = make(chan dispatcher.Message, 8)
				if err := d.Register(dispatcher.NewSubscriber(filter, chans[filter], filter, "block", 1)); err != nil {
					t.Fatal(err)
				}
			}
			put(t, d, "block", "1", "1", "2", "1")
			want(t, "filtered", drain(chans[true]), []string{"1", "2"})
			want(t, "unfiltered", drain(chans[false]), []string{"1", "1", "2", "1"})
			if s := subStats(t, d, true); s.Duplicate != 2 {
				t.Errorf("counted %d duplicates, want 2", s.Duplicate)
			}
		})
	}
}

// A full subscriber lost the message, and the filter had marked it already:
// every later copy was dropped as a duplicate.
func TestOverloadIsNoPermanentLoss(t *testing.T) {
	for _, policy := range []dispatcher.Policy{dispatcher.DropNewest, dispatcher.DropOldest} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				small, large := make(chan dispatcher.Message, 1), make(chan dispatcher.Message, 8)
				d := start(t, dispatcher.Config{},
					dispatcher.NewSubscriber("small", small, true, "block", 1, dispatcher.WithPolicy(policy)),
					dispatcher.NewSubscriber("large", large, true, "block", 1),
				)
				put(t, d, "block", "1", "2") // one of them is lost by small
				first := drain(small)
				put(t, d, "block", "1", "2") // that one comes again
				second := drain(small)
				if len(first) != 1 || len(second) != 1 || first[0] == second[0] {
					t.Errorf("got %v, then %v; want one each, and different ones", first, second)
				}
				want(t, "large", drain(large), []string{"1", "2"})
				if s := typeStats(d, "block"); s.Delivered != 3 || s.Duplicate != 1 {
					t.Errorf("delivered %d and duplicate %d, want 3 and 1", s.Delivered, s.Duplicate)
				}
			})
		})
	}
}

// The same within one hand-over: a copy right behind a message that was lost,
// or was dropped again to make room, is no duplicate of it.
func TestCopyBehindLostMessage(t *testing.T) {
	for policy, c := range map[dispatcher.Policy]struct {
		lost dispatcher.DropReason
		left string
	}{
		dispatcher.DropNewest: {dispatcher.DropSubscriberFull, "1"}, // 2 is lost twice
		dispatcher.DropOldest: {dispatcher.DropOldestWaiting, "1"},  // 1, 2, and 2 for 1
	} {
		synctest.Test(t, func(t *testing.T) {
			sub := dispatcher.NewSubscription("s", "block", dispatcher.WithFilter(true),
				dispatcher.WithPolicy(policy), dispatcher.WithQueue(1))
			d := start(t, dispatcher.Config{}, sub)
			texts := []string{"1", "2", "2"}
			if policy == dispatcher.DropOldest {
				texts = []string{"1", "2", "1"}
			}
			var batch []dispatcher.Message
			for _, text := range texts {
				batch = append(batch, msg("block", text))
			}
			if _, err := d.PutMessages(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if s := subStats(t, d, "s"); s.Duplicate != 0 || s.Dropped[c.lost] != 2 {
				t.Errorf("%v: %+v", policy, s)
			}
			want(t, policy.String(), read(t, sub), []string{c.left})
		})
	}
}

// A Deliver that refuses a message, or panics, gets the next copy of it.
func TestCopyAfterRefusal(t *testing.T) {
	for name, refuse := range map[string]func() bool{
		"false": func() bool { return false }, "panic": func() bool { panic("no") }, "Goexit": func() bool { runtime.Goexit(); return true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				picky := &external{id: "picky", typ: "block", filter: true}
				n := 0
				picky.deliver = func(dispatcher.Message) bool {
					n++
					return n > 1 || refuse()
				}
				d := start(t, dispatcher.Config{}, picky)
				for range 3 {
					put(t, d, "block", "1")
					synctest.Wait()
				}
				if n != 2 {
					t.Errorf("offered %d times, want 2: lost, taken, and then a duplicate", n)
				}
				if s := subStats(t, d, "picky"); s.Delivered != 1 || s.Duplicate != 1 || s.DroppedTotal() != 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// The hash left out the type, and one cache served all types.
func TestEqualPayloadsOfTwoTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocks, txs := make(chan dispatcher.Message, 8), make(chan dispatcher.Message, 8)
		d := start(t, dispatcher.Config{},
			dispatcher.NewSubscriber("s", blocks, true, "block", 1),
			dispatcher.NewSubscriber("s", txs, true, "tx", 1),
		)
		put(t, d, "block", "same")
		put(t, d, "tx", "same")
		want(t, "blocks", drain(blocks), []string{"same"})
		want(t, "txs", drain(txs), []string{"same"})
	})
	if a, b := msg("block", "same").Hash(), msg("tx", "same").Hash(); a == b {
		t.Error("two types, one hash")
	}
	if a, b := msg("ab", "c").Hash(), msg("a", "bc").Hash(); a == b {
		t.Error("the hash does not tell where the type ends")
	}
}

// Two dispatchers of one process shared a filter.
func TestFiltersOfTwoDispatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			ch := make(chan dispatcher.Message, 8)
			d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("s", ch, true, "block", 1))
			put(t, d, "block", "1")
			want(t, "blocks", drain(ch), []string{"1"})
		}
	})
}

// Stop sent on a channel, waited for nobody, and left the queue undrained and
// its readers blocked.
func TestStopDrainsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message, 200)
		var r recorder
		d := start(t, dispatcher.Config{},
			dispatcher.NewSubscriber("c", ch, false, "block", 1, dispatcher.WithCloseChannel()),
			dispatcher.NewHandler("h", "block", r.add),
		)
		read := make(chan []string)
		go func() {
			var texts []string
			for m := range ch { // ends: Stop closes the channel
				texts = append(texts, string(m.Data()))
			}
			read <- texts
		}()
		all := numbers(0, 100)
		put(t, d, "block", all...)
		if err := d.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, "handler, when Stop has returned", r.got(), all)
		want(t, "reader", <-read, all)
		select {
		case <-d.Done():
		default:
			t.Error("Done is not closed after Stop")
		}
		if err := d.PutMessage(msg("block", "late")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("put after Stop: %v", err)
		}
		if err := d.Stop(t.Context()); err != nil {
			t.Errorf("second Stop: %v", err)
		}
	})
}
