package dispatcher_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// slow is a handler that takes ten seconds for each message.
func slow(context.Context, dispatcher.Message) { time.Sleep(10 * time.Second) }

// The histogram of waits holds what a message had to wait for its subscriber,
// wherever that was.
func TestWaitsAreMeasured(t *testing.T) {
	unread := make(chan dispatcher.Message, 10)
	for _, c := range []struct {
		name string
		sub  func() dispatcher.Subscriber
		n    int64         // measured: the third message comes while another one is
		wait time.Duration // of the second message
	}{
		{"handler", func() dispatcher.Subscriber { return dispatcher.NewHandler("h", "a", slow) }, 2, 9 * time.Second},
		{"lossless handler", func() dispatcher.Subscriber {
			return dispatcher.NewHandler("h", "a", slow, dispatcher.WithPolicy(dispatcher.Lossless))
		}, 2, 9 * time.Second},
		{"drop oldest", func() dispatcher.Subscriber {
			return dispatcher.NewHandler("h", "a", slow, dispatcher.WithPolicy(dispatcher.DropOldest), dispatcher.WithQueue(2))
		}, 2, 9 * time.Second},
		{"channel with space", func() dispatcher.Subscriber { return dispatcher.NewSubscriber("c", unread, false, "a", 1) }, 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := metrics.NewRegistry()
				d, err := dispatcher.New(dispatcher.Config{StopTimeout: time.Minute}, quiet(), dispatcher.WithMetrics(reg))
				if err == nil {
					err = d.Register(c.sub())
				}
				if err == nil {
					err = d.Start()
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					time.Sleep(time.Second) // to between two ticks
					if i == 0 {
						time.Sleep(time.Second / 2)
					}
					put(t, d, "a", numbers(i, i+1)...)
				}
				if err := d.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
				h, ok := reg.Get(obs.DispatcherWait + ".a").(metrics.Histogram)
				if !ok || h.Count() != c.n {
					t.Fatalf("%v, %d values, want %d", ok, h.Count(), c.n)
				}
				if got := time.Duration(h.Max()) * time.Microsecond; got != c.wait {
					t.Errorf("longest wait %s, want %s", got, c.wait)
				}
				if h.Min() != 0 {
					t.Errorf("shortest wait %d µs, want none", h.Min())
				}
			})
		})
	}
}

// Of many messages between two ticks one is measured.
func TestOneWaitATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := metrics.NewRegistry()
		d, err := dispatcher.New(dispatcher.Config{}, quiet(), dispatcher.WithMetrics(reg))
		if err == nil {
			err = d.Register(dispatcher.NewHandler("h", "a", func(context.Context, dispatcher.Message) {}))
		}
		if err == nil {
			err = d.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(time.Second)
			synctest.Wait() // the tick has come
			putBatch(t, d, "a", numbers(0, 3000)...)
		}
		synctest.Wait()
		if n := reg.Get(obs.DispatcherWait + ".a").(metrics.Histogram).Count(); n != 5 {
			t.Errorf("%d of 15000 waits measured, want 5", n)
		}
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Trace tells what became of each message, until it is switched off.
func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message, 2)
		d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("c", ch, true, "a", 1))
		var got []string
		d.Trace(func(m dispatcher.Message, o dispatcher.Outcome) {
			got = append(got, string(m.Data())+" "+string(o))
		})
		put(t, d, "a", "1", "1", "2", "3")
		want(t, "taken", drain(ch), []string{"1", "2"})
		d.Trace(nil)
		put(t, d, "a", "4")
		want(t, "taken later", drain(ch), []string{"4"})
		slices.Sort(got)
		want(t, "outcomes", got, []string{"1 delivered", "1 duplicate", "2 delivered", "3 subscriber full"})
	})
}
