package dispatcher_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// stopAtOnce stops a dispatcher without giving it any time, and returns what
// was lost by that.
func stopAtOnce(t *testing.T, d *dispatcher.Dispatcher) *dispatcher.UndeliveredError {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := d.Stop(ctx)
	lost, ok := errors.AsType[*dispatcher.UndeliveredError](err)
	if err != nil && !ok {
		t.Errorf("stop: %v", err)
	}
	if !ok {
		lost = new(dispatcher.UndeliveredError)
	}
	return lost
}

// Stop gives up while subscribers that do not block are being served. What it
// reports is all that they do not get: nothing is delivered behind its back,
// but what is in the hands of those it names.
func TestNothingIsDeliveredAfterStop(t *testing.T) {
	const messages = 200
	var got atomic.Int64
	ch := make(chan dispatcher.Message)
	for name, sub := range map[string]func() dispatcher.Subscriber{
		"Deliver": func() dispatcher.Subscriber {
			return &external{id: "s", typ: "tx", deliver: func(dispatcher.Message) bool { got.Add(1); return true }}
		},
		"handler": func() dispatcher.Subscriber {
			return dispatcher.NewHandler("s", "tx", func(context.Context, dispatcher.Message) { got.Add(1) },
				dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithWorkers(2))
		},
		"channel": func() dispatcher.Subscriber {
			return dispatcher.NewSubscriber("s", ch, false, "tx", 1, dispatcher.WithPolicy(dispatcher.Lossless))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 300 {
				synctest.Test(t, func(t *testing.T) {
					got.Store(0)
					ch = make(chan dispatcher.Message)
					d := start(t, dispatcher.Config{}, sub())
					end := make(chan struct{})
					go func() {
						for {
							select {
							case <-ch:
								got.Add(1)
							case <-end:
								return
							}
						}
					}()
					var batch []dispatcher.Message
					for _, text := range numbers(0, messages) {
						batch = append(batch, msg("tx", text))
					}
					if _, err := d.PutMessages(t.Context(), batch); err != nil {
						t.Fatal(err)
					}
					for got.Load() < int64(round%messages) {
						runtime.Gosched()
					}
					lost := stopAtOnce(t, d)
					synctest.Wait()
					close(end)
					if got := int(got.Load()); got+lost.Types["tx"] != messages {
						t.Fatalf("%d of %d delivered, and %v", got, messages, lost)
					}
				})
			}
		})
	}
}

// Stop gives up while the code of a subscriber hangs. It reports the hand-overs
// that do not happen to it; the one in its hands is none of them, and others are
// not held up.
func TestStuckReportIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var behind int
		d := start(t, dispatcher.Config{StopTimeout: time.Second},
			&external{id: "deaf", typ: "tx", deliver: func(m dispatcher.Message) bool {
				if string(m.Data()) == "1" {
					<-release
				}
				return true
			}},
			&external{id: "behind", typ: "tx", deliver: func(dispatcher.Message) bool { behind++; return true }},
		)
		putBatch(t, d, "tx", numbers(0, 4)...)
		lost, ok := errors.AsType[*dispatcher.UndeliveredError](d.Stop(t.Context()))
		if !ok || !slices.Equal(lost.Stuck, []string{"deaf/tx"}) || lost.Types["tx"] != 2 {
			t.Errorf("%v, want deaf/tx and 2 of tx", lost)
		}
		if behind != 4 {
			t.Errorf("the other one got %d", behind)
		}
		close(release)
		synctest.Wait()
		var dropped uint64
		for _, s := range d.Stats().Subscribers {
			dropped += s.Dropped[dispatcher.DropStopped]
		}
		if dropped != uint64(lost.Types["tx"]) {
			t.Errorf("%d counted, %d reported", dropped, lost.Types["tx"])
		}
	})
}

// The same for a key function that hangs: what it returns is not used.
func TestStuckKeyFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ch := make(chan dispatcher.Message, 10)
		d := start(t, dispatcher.Config{StopTimeout: time.Second},
			dispatcher.NewSubscriber("keyed", ch, false, "tx", 1,
				dispatcher.WithKey(func(m dispatcher.Message) string {
					if string(m.Data()) == "1" {
						<-release
					}
					return string(m.Data())
				})))
		putBatch(t, d, "tx", numbers(0, 4)...)
		lost, ok := errors.AsType[*dispatcher.UndeliveredError](d.Stop(t.Context()))
		if !ok || !slices.Equal(lost.Stuck, []string{"keyed/tx"}) || lost.Types["tx"] != 2 {
			t.Errorf("%v, want keyed/tx and 2 of tx", lost)
		}
		close(release)
		synctest.Wait()
		want(t, "in the channel", drain(ch), []string{"0"})
	})
}
