package dispatcher

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// tally counts what it gets.
type tally struct {
	typ    string
	weight MessageWeight
	n      int
	more   func()
}

func (s *tally) ID() any               { return "tally" }
func (s *tally) MessageType() string   { return s.typ }
func (s *tally) DoFilter() bool        { return false }
func (s *tally) Weight() MessageWeight { return s.weight }

func (s *tally) Deliver(Message) bool {
	s.n++
	if s.more != nil {
		s.more()
	}
	return true
}

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

// admit puts messages into a room without waking anybody.
func admit(d *Dispatcher, typ string, n int) *room {
	r := (*d.rooms.Load())[typ]
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		r.admitLocked(NewMessage(typ, "", fmt.Append(nil, i)), 1, key{})
	}
	return r
}

// While several types have a backlog, each gets its share of every round; one
// that is alone gets through without sharing.
func TestWeights(t *testing.T) {
	heavy, light, zero := &tally{typ: "heavy", weight: 4}, &tally{typ: "light", weight: 1}, &tally{typ: "zero"}
	d := quietDispatcher(t, Config{}, heavy, light, zero)
	const each = 8 * quantum
	active := []*room{admit(d, "heavy", each), admit(d, "light", each), admit(d, "zero", each)}

	active = d.pass(active)
	if heavy.n != 4*quantum || light.n != quantum || zero.n != quantum {
		t.Errorf("first round: %d, %d and %d, want %d, %d and %d", heavy.n, light.n, zero.n, 4*quantum, quantum, quantum)
	}
	active = d.pass(active)
	if heavy.n != each || light.n != 2*quantum || len(active) != 2 {
		t.Errorf("second round: %d and %d, %d rooms go on", heavy.n, light.n, len(active))
	}
	for range 6 {
		active = d.pass(active)
	}
	if light.n != each || zero.n != each || len(active) != 0 {
		t.Errorf("in the end: %d and %d, %d rooms go on", light.n, zero.n, len(active))
	}
}

// A type that never runs dry does not keep others from their turn, nor the
// ticker, nor Stop.
func TestEndlessType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endless, other := &tally{typ: "endless", weight: 200}, &tally{typ: "other"}
		d := quietDispatcher(t, Config{TickInterval: time.Second}, endless, other)
		endless.more = func() {
			if endless.n < 1_000_000 {
				if err := d.TryPutMessage(NewMessage("endless", "", nil)); err != nil {
					t.Error(err)
				}
			}
			if endless.n == 1000 {
				if err := d.TryPutMessage(NewMessage("other", "", nil)); err != nil {
					t.Error(err)
				}
			}
			if other.n == 1 {
				endless.n = 1_000_000
			}
		}
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		if err := d.PutMessage(NewMessage("endless", "", nil)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if other.n != 1 || endless.n > 1_000_100 {
			t.Errorf("other got %d after %d", other.n, endless.n)
		}
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// After a burst the memory is given back, and everything goes on working.
func TestShrink(t *testing.T) {
	sub := NewSubscription("s", "tx", WithQueue(10*shrinkAbove))
	d := quietDispatcher(t, Config{}, sub)
	run := sub.run.Load()
	room := func(r *room) int { return cap(r.log.msgs) + cap(r.in.msgs) + cap(r.flags) + len(run.q.ring) }
	for range 2 {
		const n = 4 * shrinkAbove
		r := admit(d, "tx", n)
		for r.do(1000) {
			r.shrink() // nothing, while messages wait
		}
		for i := range n {
			if m, ok := run.next(t.Context()); !ok || string(m.Data()) != fmt.Sprint(i) {
				t.Fatalf("message %d: %v", i, m)
			}
		}
		if room(r) < n {
			t.Error("the burst was no burst")
		}
		r.shrink() // sees that it was used since the last time
		r.shrink()
		if n := room(r); n != 0 {
			t.Errorf("room for %d messages is kept", n)
		}
	}
}

// The dispatcher lets go of messages that it has handed over.
func TestNoReferencesKept(t *testing.T) {
	s := &tally{typ: "tx"}
	d := quietDispatcher(t, Config{}, s)
	r := admit(d, "tx", 100)
	for r.do(30) {
	}
	if s.n != 100 {
		t.Fatalf("%d delivered", s.n)
	}
	for _, msgs := range [][]Message{r.log.msgs[:cap(r.log.msgs)], r.in.msgs[:cap(r.in.msgs)]} {
		for i, m := range msgs {
			if m != nil {
				t.Fatalf("message %d is kept", i)
			}
		}
	}
}

// While the pump's goroutine holds messages, nothing goes past it, not even
// when the queue is empty and the channel has room.
func TestPumpKeepsOrder(t *testing.T) {
	ch := make(chan Message, 4)
	p := newPump(nil, NewSubscriber("s", ch, false, "tx", 1, WithPolicy(Lossless)), nil)
	p.running = true // as if it held some
	var n int
	p.offer([]Message{NewMessage("tx", "", nil)}, []uint32{0}, &n)
	if n != 1 || len(ch) != 0 || p.q.n != 1 {
		t.Errorf("taken %d, %d in the channel, %d in the queue", n, len(ch), p.q.n)
	}
}
