package dispatcher_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// One sender puts as much as it can, and an honest one 300 messages meanwhile,
// to a subscriber that needs a millisecond for each. Nearly all of the honest
// ones arrive, within a minute.
func TestFloodTakesNoShareOfOthers(t *testing.T) {
	const honest = 300
	for _, policy := range []dispatcher.Policy{dispatcher.DropNewest, dispatcher.DropOldest, dispatcher.Lossless} {
		for _, kind := range []string{"handler", "channel", "subscription"} {
			t.Run(policy.String()+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got := make(map[string]bool)
					opts := []dispatcher.SubscriberOption{dispatcher.WithPolicy(policy), dispatcher.WithQueue(256), dispatcher.WithCloseChannel()}
					take := func(m dispatcher.Message) {
						time.Sleep(time.Millisecond)
						if m.MessageFrom() == "honest" {
							got[string(m.Data())] = true
						}
					}
					var sub dispatcher.Subscriber
					var readers sync.WaitGroup
					switch kind {
					case "handler":
						sub = dispatcher.NewHandler("s", "tx", func(_ context.Context, m dispatcher.Message) { take(m) }, opts...)
					case "channel":
						ch := make(chan dispatcher.Message, 256)
						sub = dispatcher.NewSubscriber("s", ch, false, "tx", 1, opts...)
						readers.Go(func() {
							for m := range ch {
								take(m)
							}
						})
					case "subscription":
						sub = dispatcher.NewSubscription("s", "tx", opts...)
					}
					d := start(t, dispatcher.Config{StopTimeout: time.Hour}, sub)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					var flood sync.WaitGroup
					for range 4 {
						flood.Go(func() {
							var batch []dispatcher.Message
							for i := range 500 {
								batch = append(batch, dispatcher.NewMessage("tx", "flooder", fmt.Append(nil, i)))
							}
							for policy == dispatcher.Lossless && ctx.Err() == nil {
								_, _ = d.PutMessages(ctx, batch) // waits
							}
							for i := 0; ctx.Err() == nil; i++ {
								_ = d.PutMessageContext(ctx, dispatcher.NewMessage("tx", "flooder", fmt.Append(nil, i)))
								if i%8 == 7 {
									time.Sleep(time.Millisecond) // 32 times as fast as the subscriber
								}
							}
						})
					}
					if kind == "subscription" {
						readers.Go(func() {
							for m := range sub.(*dispatcher.Subscription).All(context.Background()) {
								take(m)
							}
						})
					}
					time.Sleep(time.Second) // everything is full by now
					for i := range honest {
						if err := d.PutMessageContext(ctx, dispatcher.NewMessage("tx", "honest", fmt.Append(nil, i))); err != nil {
							t.Fatal(err)
						}
						time.Sleep(10 * time.Millisecond)
					}
					cancel()
					flood.Wait()
					if err := d.Stop(context.Background()); err != nil {
						t.Error(err)
					}
					readers.Wait()
					if len(got) < honest-5 || policy == dispatcher.Lossless && len(got) < honest {
						t.Errorf("%d of %d arrived", len(got), honest)
					}
				})
			})
		}
	}
}

// A sender that is alone gets all of a queue, and of a channel.
func TestAloneThereIsNoShare(t *testing.T) {
	for _, policy := range []dispatcher.Policy{dispatcher.DropNewest, dispatcher.DropOldest} {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan dispatcher.Message, 8)
			sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithPolicy(policy), dispatcher.WithQueue(8))
			d := start(t, dispatcher.Config{}, sub, dispatcher.NewSubscriber("c", ch, false, "tx", 1, dispatcher.WithPolicy(policy)))
			put(t, d, "tx", numbers(0, 20)...)
			synctest.Wait()
			left := numbers(0, 8)
			if policy == dispatcher.DropOldest {
				left = numbers(12, 20)
			}
			want(t, policy.String()+" queue", read(t, sub), left)
			want(t, policy.String()+" channel", drain(ch), left)
		})
	}
}

// Of those who hold a full queue, the sender that holds the most pays: with its
// newest message, or with its oldest, as the policy says. The others keep their
// order.
func TestWhoHoldsTheMostPays(t *testing.T) {
	from := func(sender, text string) dispatcher.Message {
		return dispatcher.NewMessage("tx", sender, []byte(text))
	}
	for policy, left := range map[dispatcher.Policy][]string{
		dispatcher.DropNewest: {"a1", "a2", "b1", "c1"}, // a3 for c1, a4 refused
		dispatcher.DropOldest: {"b1", "a3", "c1", "a4"}, // a1 for c1, a2 for a4
	} {
		synctest.Test(t, func(t *testing.T) {
			sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithPolicy(policy), dispatcher.WithQueue(4), dispatcher.WithFilter(true))
			d := start(t, dispatcher.Config{}, sub)
			for _, text := range []string{"a1", "a2", "b1", "a3", "c1", "a4"} {
				if err := d.PutMessage(from(text[:1], text)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if s := subStats(t, d, "s"); s.Duplicate != 0 || s.DroppedTotal() != 2 {
				t.Errorf("%v: %+v", policy, s)
			}
			want(t, policy.String(), read(t, sub), left)
			// What was dropped is forgotten by the filter: it comes again.
			for _, text := range []string{"a1", "a2", "a3", "a4", "b1", "c1"} {
				if err := d.PutMessage(from(text[:1], text)); err != nil {
					t.Fatal(err)
				}
			}
			if again := read(t, sub); len(again) != 2 {
				t.Errorf("%v: %v came again", policy, again)
			}
		})
	}
}

// Waiting publishers are admitted in turns of their senders, each sender's in
// the order of their coming, and a large message costs its sender more turns.
func TestSendersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnread("u", "tx", false, 1)
		d := start(t, dispatcher.Config{}, u)
		put(t, d, "tx", "first")
		wait := func(from, text string, size int) {
			go func() {
				_ = d.PutMessage(dispatcher.NewMessage("tx", from, append([]byte(text), make([]byte, size)...)))
			}()
			synctest.Wait()
		}
		for _, text := range []string{"a1", "a2", "a3", "a4", "a5"} {
			wait("a", text, 0)
		}
		wait("b", "b1", 0)
		wait("b", "b2", 0)
		wait("large", "l1", 2*4096)
		var got []string
		for m := range some(t, u) {
			got = append(got, string(m.Data()[:min(2, len(m.Data()))]))
		}
		want(t, "got", got, []string{"fi", "a1", "b1", "a2", "b2", "a3", "l1", "a4", "a5"})
	})
}
