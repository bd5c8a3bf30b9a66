package dispatcher

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

func quietDispatcher(t *testing.T, cfg Config, subs ...Subscriber) *Dispatcher {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	d, err := New(cfg, WithLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Register(subs...); err != nil {
		t.Fatal(err)
	}
	return d
}

// admit puts messages into an inbox without waking anybody.
func admit(d *Dispatcher, typ string, n int) *topic {
	t := (*d.topics.Load())[typ]
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range n {
		var it item
		_ = it.of(NewMessage(typ, "", fmt.Append(nil, i)))
		t.admitLocked(&it)
	}
	return t
}

// While several types have a backlog, each gets a chunk in turn.
func TestTopicsTakeTurns(t *testing.T) {
	long := NewSubscriber("s", make(chan Message, 10*chunkSize), false, "long", 1)
	short := NewSubscriber("s", make(chan Message, 10*chunkSize), false, "short", 1)
	d := quietDispatcher(t, Config{}, long, short)
	active := []*topic{admit(d, "long", 3*chunkSize), admit(d, "short", chunkSize+1)}
	for i, want := range [][3]int{
		{chunkSize, chunkSize, 2}, {2 * chunkSize, chunkSize + 1, 1}, {3 * chunkSize, chunkSize + 1, 0},
	} {
		active = d.pass(active)
		if got := [3]int{len(long.ch), len(short.ch), len(active)}; got != want {
			t.Errorf("pass %d: %v, want %v", i, got, want)
		}
	}
}

// A type that never runs dry does not keep others from their turn, nor the
// ticker, nor Stop.
func TestEndlessType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := make(chan Message, 1)
		var d *Dispatcher
		puts := 0
		endless := NewHandler("h", "endless", func(ctx context.Context, m Message) {
			puts++
			_ = d.TryPutMessage(m)
		}, WithQueue(1))
		d = quietDispatcher(t, Config{TickInterval: time.Second}, endless, NewSubscriber("s", other, false, "other", 1))
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		if err := d.PutMessage(NewMessage("endless", "", nil)); err != nil {
			t.Fatal(err)
		}
		if err := d.PutMessage(NewMessage("other", "", nil)); err != nil {
			t.Fatal(err)
		}
		<-other
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if puts == 0 {
			t.Error("the endless type had no turn")
		}
	})
}

// After a burst the memory is given back, and everything goes on working.
func TestShrink(t *testing.T) {
	sub := NewSubscription("s", "tx", WithQueue(10*shrinkAbove))
	d := quietDispatcher(t, Config{}, sub)
	s := sub.sub.Load()
	kept := func(t *topic) int { return cap(t.batch) + cap(t.inbox) + len(s.queue.buf) }
	for range 2 {
		const n = 4 * shrinkAbove
		topic := admit(d, "tx", n)
		for topic.dispatch(&d.block) {
			topic.shrink() // nothing, while messages wait
		}
		for i := range n {
			if m, ok := s.receive(t.Context()); !ok || string(m.Data()) != fmt.Sprint(i) {
				t.Fatalf("message %d: %v", i, m)
			}
		}
		if kept(topic) < n {
			t.Error("the burst was no burst")
		}
		topic.shrink() // sees that it was used since the last time
		topic.shrink()
		if n := kept(topic); n != 0 {
			t.Errorf("memory for %d messages is kept", n)
		}
	}
}

// The dispatcher lets go of messages that it has handed over.
func TestNoReferencesKept(t *testing.T) {
	sub := NewSubscription("s", "tx")
	d := quietDispatcher(t, Config{}, sub)
	topic := admit(d, "tx", 2*chunkSize+1)
	for topic.dispatch(&d.block) {
	}
	s := sub.sub.Load()
	for range 2*chunkSize + 1 {
		if _, ok := s.receive(t.Context()); !ok {
			t.Fatal("too few")
		}
	}
	for _, items := range [][]item{topic.batch[:cap(topic.batch)], topic.inbox[:cap(topic.inbox)], s.queue.buf} {
		for i := range items {
			if items[i].msg != nil {
				t.Fatalf("message %d is kept", i)
			}
		}
	}
}

// While the worker of a channel holds messages, nothing goes past it, not even
// when the queue is empty and the channel has room.
func TestChannelKeepsOrder(t *testing.T) {
	ch := make(chan Message, 4)
	d := quietDispatcher(t, Config{}, NewSubscriber("s", ch, false, "tx", 1, WithPolicy(Lossless)))
	topic := admit(d, "tx", 1)
	s := topic.list[0]
	s.busy = true // as if it held some
	topic.dispatch(&d.block)
	if len(ch) != 0 || s.queue.n != 1 {
		t.Errorf("%d in the channel, %d in the queue", len(ch), s.queue.n)
	}
}

// Who is registered while messages wait in the inbox gets what is admitted after
// that, and has given no credit for the others.
func TestJoinBehindABacklog(t *testing.T) {
	first, late := make(chan Message, 8), NewSubscription("late", "tx", WithPolicy(Lossless), WithFilter(true), WithQueue(2))
	d := quietDispatcher(t, Config{}, NewSubscriber("first", first, false, "tx", 1))
	topic := admit(d, "tx", 3)
	if err := d.Register(late); err != nil {
		t.Fatal(err)
	}
	admit(d, "tx", 2) // with the texts of the first two
	for i := range topic.inbox[3:] {
		topic.inbox[3+i].key = topic.seeds.of(topic.inbox[3+i].msg)
	}
	for topic.dispatch(&d.block) {
	}
	s := late.sub.Load()
	if len(first) != 5 || s.queue.n != 2 || s.granted != 2 {
		t.Errorf("the first got %d, the late one %d with %d credits; want 5, 2 and 2", len(first), s.queue.n, s.granted)
	}
}
