package dispatcher_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/go-nebnet/nebnet/dispatcher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() dispatcher.Option {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return dispatcher.WithLogger(log)
}

// start returns a running dispatcher with these subscribers. When the test
// ends, it checks the accounts and stops it.
func start(t *testing.T, cfg dispatcher.Config, subs ...dispatcher.Subscriber) *dispatcher.Dispatcher {
	t.Helper()
	d, err := dispatcher.New(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Register(subs...); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkAccounts(t, d)
		_ = d.Stop(context.Background())
		checkAccounts(t, d)
	})
	return d
}

// checkAccounts checks what holds at every instant.
func checkAccounts(t *testing.T, d *dispatcher.Dispatcher) {
	t.Helper()
	s := d.Stats()
	balance := func(name string, ts dispatcher.TypeStats) {
		if got := ts.Delivered + ts.Duplicate + ts.DroppedTotal() + ts.Unrouted + uint64(ts.Queued); got != ts.Received {
			t.Errorf("%s: received %d, accounted for %d: %+v", name, ts.Received, got, ts)
		}
	}
	balance("total", s.Total)
	balance("other", s.Other)
	for typ, ts := range s.Types {
		balance(typ, ts)
	}
	for _, sub := range s.Subscribers {
		if got := sub.Delivered + uint64(sub.Queued) + sub.Duplicate + sub.DroppedTotal(); got != sub.Offered {
			t.Errorf("subscriber %v: offered %d, accounted for %d: %+v", sub.ID, sub.Offered, got, sub)
		}
	}
}

func msg(typ, text string) dispatcher.Message { return dispatcher.NewMessage(typ, "", []byte(text)) }

// put puts one message of the type for each text.
func put(t *testing.T, d *dispatcher.Dispatcher, typ string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := d.PutMessage(msg(typ, text)); err != nil {
			t.Errorf("put %s: %v", text, err)
		}
	}
}

// putBatch puts them with one call.
func putBatch(t *testing.T, d *dispatcher.Dispatcher, typ string, texts ...string) {
	t.Helper()
	var batch []dispatcher.Message
	for _, text := range texts {
		batch = append(batch, msg(typ, text))
	}
	if n, err := d.PutMessages(t.Context(), batch); n != len(batch) || err != nil {
		t.Errorf("put %d of %d: %v", n, len(batch), err)
	}
}

func numbers(from, to int) (texts []string) {
	for i := from; i < to; i++ {
		texts = append(texts, fmt.Sprint(i))
	}
	return texts
}

// drain reads what is in a channel once everybody is idle.
func drain(ch chan dispatcher.Message) (texts []string) {
	synctest.Wait()
	for {
		select {
		case m := <-ch:
			texts = append(texts, string(m.Data()))
			synctest.Wait()
		default:
			return texts
		}
	}
}

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// newUnread returns a lossless subscriber with places for a few messages, which
// nobody reads until the test does.
func newUnread(id any, typ string, filter bool, places int) *dispatcher.Subscription {
	return dispatcher.NewSubscription(id, typ, dispatcher.WithFilter(filter),
		dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(places))
}

// read reads what waits, and what comes because of that.
func read(t *testing.T, sub *dispatcher.Subscription) (texts []string) {
	for m := range some(t, sub) {
		texts = append(texts, string(m.Data()))
	}
	return texts
}

// some yields messages until everybody is idle. It takes none that it does not
// yield.
func some(t *testing.T, sub *dispatcher.Subscription) iter.Seq[dispatcher.Message] {
	return func(yield func(dispatcher.Message) bool) {
		ctx, cancel := context.WithCancel(t.Context())
		idle := make(chan struct{})
		go func() {
			defer close(idle)
			synctest.Wait()
			cancel()
		}()
		for m := range sub.All(ctx) {
			if !yield(m) {
				break
			}
		}
		<-idle // two must not wait at the same time
	}
}

// recorder collects what a handler gets.
type recorder struct {
	mu    sync.Mutex
	texts []string
}

func (r *recorder) add(_ context.Context, m dispatcher.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, string(m.Data()))
}

func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.texts)
}

// typeStats and subStats look one entry of Stats up.
func typeStats(d *dispatcher.Dispatcher, typ string) dispatcher.TypeStats {
	return d.Stats().Types[typ]
}

func subStats(t *testing.T, d *dispatcher.Dispatcher, id any) dispatcher.SubscriberStats {
	t.Helper()
	for _, s := range d.Stats().Subscribers {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("no subscriber %v", id)
	return dispatcher.SubscriberStats{}
}
