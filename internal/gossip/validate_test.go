package gossip

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/msgtype"
)

// pair is a publisher and a receiver.
func (w *world) pair(edit func(c *Config, tx *declared)) (pub, sub *node) {
	w.t.Helper()
	pub = w.node(nil)
	sub = w.node(edit)
	w.connect(pub.h, sub.h)
	settle()
	return pub, sub
}

func (n *node) tx() TypeStats { return n.e.Stats().Types["tx"] }

func TestVerdicts(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(func(_ *Config, tx *declared) {
			tx.validate = func(_ context.Context, m Message) Verdict {
				switch string(m.Data) {
				case "good":
					return Accept()
				case "bad":
					return Reject()
				case "panic":
					panic("a bug of the program")
				}
				return Ignore()
			}
		})
		for _, s := range []string{"good", "bad", "panic", "boring"} {
			pub.publish(t, s)
		}
		settle()
		wantOnce(t, []*node{sub}, "good")
		s := sub.tx()
		if s.Delivered != 1 || s.Rejected != 1 || s.Ignored != 2 || s.Panics != 1 || sub.box.total() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A message turned away because the subscriber is full is taken when it comes
// again: here, when the sender's gossip announces it to a receiver that the
// router believes has seen it.
func TestFullSubscriberTakesTheNextCopy(t *testing.T) {
	for _, id := range []Identity{Unsigned, Signed} {
		inBubble(t, func(t *testing.T, w *world) {
			set := func(c *Config, _ *declared) { c.Identity = id }
			ns := w.nodes(13, set)
			w.full(ns) // more peers than a mesh has, so that some gossip
			settle()
			sub := ns[3]
			sub.box.setRefuse(func(context.Context, Message, bool) error { return ErrFull })
			ns[0].publish(t, "precious")
			time.Sleep(500 * time.Millisecond)
			if s := sub.tx(); s.Away[awayFull] == 0 || s.Delivered != 0 {
				t.Fatalf("not turned away: %+v", s)
			}
			sub.box.setRefuse(nil)
			settle()
			wantOnce(t, ns[1:], "precious")
			if s := sub.tx(); s.Retaken == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Two nodes: nobody announces what the only mesh peer has sent already.
func TestTurnedAwayMessagesAreAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(func(c *Config, tx *declared) {
			tx.Broadcast.Concurrency, c.Queue = 1, 64
			tx.validate = func(context.Context, Message) Verdict {
				time.Sleep(20 * time.Millisecond)
				return Accept()
			}
		})
		for i := range 100 {
			pub.publish(t, payload(i, 30))
		}
		time.Sleep(10 * time.Second)
		if s := sub.tx(); sub.box.total() != 100 || len(s.Away) > 0 {
			t.Errorf("%d of 100 delivered: %+v", sub.box.total(), s)
		}
		sub.box.setRefuse(func(context.Context, Message, bool) error { return ErrFull })
		pub.publish(t, "precious")
		time.Sleep(time.Second)
		sub.box.setRefuse(nil)
		settle()
		wantOnce(t, []*node{sub}, "precious")
	})
}

// What a full subscriber has no space for waits, at most until the type's deadline, and
// its senders wait when too much does.
func TestDeliveriesWaitForRoom(t *testing.T) {
	for _, id := range []Identity{Unsigned, Signed} {
		inBubble(t, func(t *testing.T, w *world) {
			const messages = 400
			ns := w.nodes(2, func(c *Config, tx *declared) {
				c.Identity = id
				tx.Broadcast.Deadline = 3 * time.Second
				tx.Broadcast.Concurrency, c.Queue = 2, 64
			})
			pub, sub := ns[0], ns[1]
			w.connect(pub.h, sub.h)
			settle()
			room := make(chan struct{})
			sub.box.setRefuse(func(ctx context.Context, _ Message, wait bool) error {
				if !wait {
					select {
					case <-room:
						return nil
					default:
						return ErrFull
					}
				}
				select {
				case <-room:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			for i := range messages {
				pub.publish(t, payload(i, 30))
			}
			for range messages {
				time.Sleep(8 * time.Millisecond)
				select {
				case room <- struct{}{}:
				case <-time.After(time.Minute):
				}
			}
			settle()
			if s := sub.tx(); sub.box.total() != messages || len(s.Away) > 0 {
				t.Errorf("%d delivered: %+v", sub.box.total(), s)
			}
			pub.publish(t, "too late")
			settle()
			if s := sub.tx(); s.Away[awayTimeout] == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A subscriber that stands is not waited for without end: other types go on.
func TestStuckSubscriberHoldsUpNobodyForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ns := w.nodes(2, func(c *Config, tx *declared) { tx.Broadcast.Concurrency, c.Queue = 2, 16 })
		for _, n := range ns {
			must(t, n.e.Set(msgtype.Spec{Name: "other"}, true, nil))
		}
		w.connect(ns[0].h, ns[1].h)
		settle()
		ns[1].box.setRefuse(func(ctx context.Context, m Message, wait bool) error {
			switch {
			case m.Type == "other":
				return nil
			case wait:
				<-ctx.Done()
			}
			return ErrFull
		})
		for i := range 1000 {
			ns[0].publish(t, payload(i, 100))
		}
		must(t, ns[0].e.Publish(t.Context(), "other", []byte("goes on")))
		time.Sleep(5 * time.Second)
		if ns[1].box.count("goes on") != 0 {
			t.Error("it was not held up: nothing was tested")
		}
		time.Sleep(20 * time.Second)
		wantOnce(t, ns[1:], "goes on")
		if s := ns[1].tx(); s.Away[awayOverload] == 0 || s.Delivered != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestValidatorDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		pub, sub := w.pair(func(_ *Config, tx *declared) {
			tx.Broadcast.Deadline = time.Second
			tx.validate = func(ctx context.Context, _ Message) Verdict {
				<-ctx.Done()
				return Ignore()
			}
		})
		pub.publish(t, "slow")
		settle()
		if s := sub.tx(); s.Away[awayTimeout] == 0 || s.Ignored != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConcurrencyIsBoundedPerType(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var now, most atomic.Int64
		pub, sub := w.pair(func(_ *Config, tx *declared) {
			tx.Broadcast.Concurrency = 3
			tx.validate = func(context.Context, Message) Verdict {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(100 * time.Millisecond)
				now.Add(-1)
				return Accept()
			}
		})
		must(t, sub.e.Set(msgtype.Spec{Name: "quick"}, true, nil))
		must(t, pub.e.Set(msgtype.Spec{Name: "quick"}, false, nil))
		settle()
		for i := range 30 {
			pub.publish(t, payload(i, 30))
		}
		must(t, pub.e.Publish(t.Context(), "quick", []byte("now")))
		time.Sleep(150 * time.Millisecond)
		wantOnce(t, []*node{sub}, "now")
		settle()
		if most.Load() != 3 || sub.box.total() != 31 {
			t.Errorf("%d at once, %d delivered", most.Load(), sub.box.total())
		}
	})
}

func TestExplicitRelay(t *testing.T) {
	for _, id := range []Identity{Unsigned, Signed} {
		inBubble(t, func(t *testing.T, w *world) {
			ns := w.nodes(3, func(c *Config, tx *declared) {
				c.Identity = id
				tx.Broadcast.ExplicitRelay = true
			})
			w.connect(ns[0].h, ns[1].h)
			w.connect(ns[1].h, ns[2].h)
			settle()
			ns[0].publish(t, "slowly checked")
			settle()
			if ns[1].box.total() != 1 || ns[2].box.total() != 0 {
				t.Fatal("delivered at once, and forwarded later")
			}
			m := ns[1].box.last()
			for range 2 {
				must(t, ns[1].e.Relay(t.Context(), m))
			}
			settle()
			wantOnce(t, ns[1:], "slowly checked")
			got := ns[2].box.last()
			if id == Signed && got.Author != ns[0].h.ID() {
				t.Errorf("author %s", got.Author)
			}
			if s := ns[1].tx(); s.Relayed != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTimedTypes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		timed := func(_ *Config, tx *declared) { tx.Broadcast.Timed = true }
		ns := w.nodes(2, timed)
		w.connect(ns[0].h, ns[1].h)
		settle()
		ns[0].publish(t, "when")
		settle()
		wantOnce(t, ns[1:], "when")
		d := ns[1].e.Stats().Types["tx"].Delay
		if d.Count != 1 || d.Max < 50*time.Millisecond || d.Max > 60*time.Millisecond || d.P99 != d.Max || d.Mean != d.P50 {
			t.Errorf("%+v", d)
		}
	})
}
