package dispatcher_test

import (
	"testing"
	"testing/synctest"

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

// batcher takes several messages with one call.
type batcher struct {
	external
	batches [][]string
	space   int
}

func (b *batcher) DeliverBatch(msgs []dispatcher.Message) int {
	n := min(len(msgs), b.space)
	var texts []string
	for _, m := range msgs[:n] {
		texts = append(texts, string(m.Data()))
	}
	b.space -= n
	b.batches = append(b.batches, texts)
	return n
}

var (
	_ dispatcher.Subscriber      = (*external)(nil)
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

// A Deliver that blocks delays nobody until its queue is full; then publishers
// of its type wait, and nothing is lost.
func TestDeliverMayBlock(t *testing.T) {
	for _, filter := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var got []string
			e := &external{id: "slow", typ: "tx", filter: filter}
			e.deliver = func(m dispatcher.Message) bool {
				<-release
				got = append(got, string(m.Data()))
				return true
			}
			ch := make(chan dispatcher.Message, 2*dispatcher.DefaultQueue)
			d := start(t, dispatcher.Config{}, e, dispatcher.NewSubscriber("quick", ch, filter, "tx", 1))
			put(t, d, "tx", "0")
			synctest.Wait() // it is in the hands of Deliver
			all := numbers(1, dispatcher.DefaultQueue+1)
			put(t, d, "tx", all...)
			go put(t, d, "tx", "one more")
			synctest.Wait()
			if s := typeStats(d, "tx"); s.Waiting != 1 {
				t.Errorf("%+v", s)
			}
			if n := len(ch); n != dispatcher.DefaultQueue+1 {
				t.Errorf("the other one got %d", n)
			}
			close(release)
			synctest.Wait()
			want(t, "slow", got, append(append([]string{"0"}, all...), "one more"))
			if s := subStats(t, d, "slow"); s.Policy != dispatcher.Lossless || s.DroppedTotal() != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What DeliverBatch does not take is lost, what comes behind it is not.
func TestExternalBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &batcher{external: external{id: "b", typ: "tx"}, space: 3}
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

// Deliver of the subscribers of this package hands over past the dispatcher, where
// there is a way.
func TestDeliverOfOwnSubscribers(t *testing.T) {
	var r recorder
	ch := make(chan dispatcher.Message, 1)
	for name, c := range map[string]struct {
		sub  dispatcher.Subscriber
		took bool
	}{
		"handler":      {dispatcher.NewHandler("h", "tx", r.add), true},
		"channel":      {dispatcher.NewSubscriber("c", ch, false, "tx", 1), true},
		"full channel": {dispatcher.NewSubscriber("f", nil, false, "tx", 1), false},
		"subscription": {dispatcher.NewSubscription("s", "tx"), false},
	} {
		if took := c.sub.Deliver(msg("tx", name)); took != c.took {
			t.Errorf("%s took it: %v", name, took)
		}
	}
	want(t, "handler", r.got(), []string{"handler"})
	if len(ch) != 1 {
		t.Errorf("%d messages in the channel", len(ch))
	}
}
