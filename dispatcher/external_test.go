package dispatcher_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// external is a Subscriber as another module would write it, with nothing but
// the exported interface.
type external struct {
	id      any
	typ     string
	filter  bool
	weight  dispatcher.MessageWeight
	deliver func(dispatcher.Message) bool
}

func (e *external) ID() any                          { return e.id }
func (e *external) MessageType() string              { return e.typ }
func (e *external) DoFilter() bool                   { return e.filter }
func (e *external) Weight() dispatcher.MessageWeight { return e.weight }
func (e *external) Deliver(m dispatcher.Message) bool {
	return e.deliver(m)
}

// mailbox is a lossless one with room for a few messages.
type mailbox struct {
	external
	mu    sync.Mutex
	limit int
	texts []string
	room  func()
}

func newMailbox(id any, typ string, filter bool, limit int) *mailbox {
	m := &mailbox{external: external{id: id, typ: typ, filter: filter}, limit: limit}
	m.deliver = m.take
	return m
}

func (m *mailbox) setLimit(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = n
}

func (m *mailbox) NotifyRoom(room func()) { m.room = room }

func (m *mailbox) take(msg dispatcher.Message) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.texts) >= m.limit {
		return false
	}
	m.texts = append(m.texts, string(msg.Data()))
	return true
}

func (m *mailbox) empty() []string {
	m.mu.Lock()
	texts := m.texts
	m.texts = nil
	m.mu.Unlock()
	m.room()
	return texts
}

// batcher takes several messages with one call.
type batcher struct {
	external
	batches [][]string
	room    int
}

func (b *batcher) DeliverBatch(msgs []dispatcher.Message) int {
	n := min(len(msgs), b.room)
	var texts []string
	for _, m := range msgs[:n] {
		texts = append(texts, string(m.Data()))
	}
	b.room -= n
	b.batches = append(b.batches, texts)
	return n
}

var (
	_ dispatcher.Subscriber      = (*external)(nil)
	_ dispatcher.RoomNotifier    = (*mailbox)(nil)
	_ dispatcher.BatchSubscriber = (*batcher)(nil)
)

func TestExternalSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		e := &external{id: 1, typ: "tx"}
		e.deliver = func(m dispatcher.Message) bool {
			got = append(got, string(m.Data()))
			return len(got)%2 == 1
		}
		d := start(t, dispatcher.Config{}, e)
		put(t, d, "tx", "1", "2", "3", "4")
		synctest.Wait()
		want(t, "offered", got, numbers(1, 5))
		if s := subStats(t, d, 1); s.Delivered != 2 || s.Dropped[dispatcher.DropSubscriberFull] != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestExternalLossless(t *testing.T) {
	for _, filter := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMailbox("m", "tx", filter, 3)
			d := start(t, dispatcher.Config{}, m)
			put(t, d, "tx", numbers(0, 10)...)
			var got []string
			for range 4 {
				synctest.Wait()
				got = append(got, m.empty()...)
			}
			want(t, "lossless", got, numbers(0, 10))
			if s := subStats(t, d, "m"); s.Policy != dispatcher.Lossless || s.DroppedTotal() != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A lossless subscriber that forgets to signal is late by a tick, not for ever.
func TestForgottenSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox("m", "tx", false, 1)
		d := start(t, dispatcher.Config{TickInterval: time.Second}, m)
		put(t, d, "tx", "1", "2")
		synctest.Wait()
		m.room = func() {}
		want(t, "first", m.empty(), []string{"1"})
		time.Sleep(time.Second + time.Millisecond)
		want(t, "second", m.empty(), []string{"2"})
	})
}

func TestExternalBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &batcher{external: external{id: "b", typ: "tx"}, room: 3}
		d := start(t, dispatcher.Config{}, b)
		var batch []dispatcher.Message
		for _, text := range numbers(0, 5) {
			batch = append(batch, msg("tx", text))
		}
		if n, err := d.PutMessages(t.Context(), batch); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		synctest.Wait()
		if len(b.batches) != 2 { // all five of which three fit, then the fifth
			t.Errorf("%d calls, want 2: %v", len(b.batches), b.batches)
		}
		if s := subStats(t, d, "b"); s.Delivered != 3 || s.Dropped[dispatcher.DropSubscriberFull] != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// wrapper embeds a subscriber of this library and adds to its Deliver.
type wrapper struct {
	*dispatcher.ChanSubscriber
	calls int
}

func (w *wrapper) Deliver(m dispatcher.Message) bool {
	w.calls++
	return w.ChanSubscriber.Deliver(m)
}

func TestWrappedSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message, 4)
		w := &wrapper{ChanSubscriber: dispatcher.NewSubscriber("w", ch, false, "tx", 1)}
		d := start(t, dispatcher.Config{}, w)
		put(t, d, "tx", "1", "2")
		want(t, "wrapped", drain(ch), []string{"1", "2"})
		if w.calls != 2 {
			t.Errorf("the wrapper was passed by: %d calls", w.calls)
		}
		lossless := &wrapper{ChanSubscriber: dispatcher.NewSubscriber("l", ch, false, "tx", 1,
			dispatcher.WithPolicy(dispatcher.Lossless))}
		if err := d.Register(lossless); err == nil {
			t.Error("a wrapper that would hide the policy was registered")
		}
	})
}
