package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/dispatcher"
)

func TestHandlerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := start(t, dispatcher.Config{}, dispatcher.NewHandler("h", "tx", func(ctx context.Context, m dispatcher.Message) {
			r.add(ctx, m)
			if len(r.got())%2 == 1 {
				panic("no")
			}
		}, dispatcher.WithFilter(true)))
		put(t, d, "tx", numbers(0, 10)...)
		put(t, d, "tx", "0") // it was handled, if badly
		synctest.Wait()
		want(t, "called for", r.got(), numbers(0, 10))
		if s := subStats(t, d, "h"); s.Panics != 5 || s.Delivered != 10 || s.Duplicate != 1 {
			t.Errorf("%+v", s)
		}
		if n := d.Stats().Panics; n != 5 {
			t.Errorf("%d panics in all, want 5", n)
		}
	})
}

// A function that ends its goroutine, as FailNow of a test does, ends neither
// the worker nor the messages that it holds.
func TestHandlerEndsGoroutine(t *testing.T) {
	for _, workers := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			var r recorder
			d := start(t, dispatcher.Config{}, dispatcher.NewHandler("h", "tx", func(ctx context.Context, m dispatcher.Message) {
				r.add(ctx, m)
				runtime.Goexit()
			}, dispatcher.WithWorkers(workers)))
			put(t, d, "tx", numbers(0, 20)...)
			synctest.Wait()
			if got := r.got(); len(got) != 20 {
				t.Errorf("called for %v", got)
			}
			if err := d.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The message that makes Deliver panic is dropped; the others are not touched,
// nor are other subscribers.
func TestDeliverPanics(t *testing.T) {
	for _, filter := range []bool{false, true} {
		for name, end := range map[string]func(){"panic": func() { panic("no") }, "Goexit": runtime.Goexit} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var before, bad, after []string
					note := func(texts *[]string) func(dispatcher.Message) bool {
						return func(m dispatcher.Message) bool {
							*texts = append(*texts, string(m.Data()))
							return true
						}
					}
					d := start(t, dispatcher.Config{},
						&external{id: "before", typ: "tx", filter: filter, deliver: note(&before)},
						&external{id: "bad", typ: "tx", filter: filter, deliver: func(m dispatcher.Message) bool {
							if string(m.Data()) == "3" {
								end()
							}
							return note(&bad)(m)
						}},
						&external{id: "after", typ: "tx", filter: filter, deliver: note(&after)},
					)
					var batch []dispatcher.Message
					for _, text := range numbers(0, 6) {
						batch = append(batch, msg("tx", text))
					}
					if _, err := d.PutMessages(t.Context(), batch); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					want(t, "before", before, numbers(0, 6))
					want(t, "bad", bad, []string{"0", "1", "2", "4", "5"})
					want(t, "after", after, numbers(0, 6))
					if s := subStats(t, d, "bad"); s.Dropped[dispatcher.DropPanic] != 1 || s.Panics != 1 || s.Delivered != 5 {
						t.Errorf("%+v", s)
					}
					if s := typeStats(d, "tx"); s.Delivered != 6 {
						t.Errorf("%+v", s)
					}
				})
			})
		}
	}
}

func TestBatchPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{}, &panickyBatch{external{id: "b", typ: "tx"}})
		put(t, d, "tx", "1", "2")
		synctest.Wait()
		if s := subStats(t, d, "b"); s.Dropped[dispatcher.DropPanic] != 2 {
			t.Errorf("%+v", s)
		}
	})
}

type panickyBatch struct{ external }

func (*panickyBatch) DeliverBatch([]dispatcher.Message) int { panic("no") }

// A channel that its owner closes against the rules is like a panic.
func TestClosedChannel(t *testing.T) {
	for _, policy := range []dispatcher.Policy{dispatcher.DropNewest, dispatcher.DropOldest, dispatcher.Lossless} {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan dispatcher.Message, 1)
			d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("s", ch, false, "tx", 1,
				dispatcher.WithPolicy(policy), dispatcher.WithCloseChannel()))
			close(ch)
			put(t, d, "tx", "1", "2")
			synctest.Wait()
			if s := typeStats(d, "tx"); s.Dropped[dispatcher.DropPanic] != 2 {
				t.Errorf("%v: %+v", policy, s)
			}
		})
	}
	// The same while the pump waits for room.
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message)
		d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("s", ch, false, "tx", 1,
			dispatcher.WithPolicy(dispatcher.Lossless)))
		put(t, d, "tx", "1", "2")
		synctest.Wait()
		close(ch)
		synctest.Wait()
		if s := subStats(t, d, "s"); s.Dropped[dispatcher.DropPanic] != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestKeyPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithKey(func(m dispatcher.Message) string {
			if string(m.Data()) == "2" {
				panic("no")
			}
			return string(m.Data())
		}))
		d := start(t, dispatcher.Config{}, sub)
		put(t, d, "tx", "1", "2", "3")
		synctest.Wait()
		if s := subStats(t, d, "s"); s.Queued != 2 || s.Dropped[dispatcher.DropPanic] != 1 {
			t.Errorf("%+v", s)
		}
		for range sub.All(t.Context()) {
			if subStats(t, d, "s").Queued == 0 {
				break
			}
		}
	})
}

// hashed is a Message of another module with a hash of its own.
type hashed struct {
	dispatcher.Message
	hash func() string
}

func (h hashed) Hash() string { return h.hash() }

// The filter takes a foreign message by its Hash.
func TestForeignHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message, 8)
		d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("s", ch, true, "tx", 1))
		for _, text := range []string{"1", "2"} {
			for _, hash := range []string{"a", "b"} {
				if err := d.PutMessage(hashed{msg("tx", text), func() string { return hash }}); err != nil {
					t.Fatal(err)
				}
			}
		}
		want(t, "got", drain(ch), []string{"1", "1"})
	})
}

// Registering asks the subscriber, which may panic.
func TestRegisterPanics(t *testing.T) {
	d, err := dispatcher.New(dispatcher.Config{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	var none *external
	if err := d.Register(none); !errors.Is(err, dispatcher.ErrSubscriberPanic) {
		t.Errorf("nil pointer of another module: %v", err)
	}
	if err := d.Register(&external{id: 1, typ: "tx"}); err != nil {
		t.Errorf("the identity was not given back: %v", err)
	}
}

// lockedBuffer is a log output.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// Panics are logged with the stack, and not all of them: a peer may be able to
// cause them.
func TestPanicsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		log := logrus.New()
		log.SetOutput(&out)
		d, err := dispatcher.New(dispatcher.Config{}, dispatcher.WithLogger(log))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Register(dispatcher.NewHandler("h", "tx", explode)); err != nil {
			t.Fatal(err)
		}
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		put(t, d, "tx", numbers(0, 100)...)
		if err := d.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		text := out.buf.String()
		if strings.Count(text, "code of the program panicked") != 1 || !strings.Contains(text, "explode") ||
			!strings.Contains(text, "h/tx") || strings.Contains(text, "\x1b[2J") {
			t.Errorf("log: %s", text)
		}
	})
}

func explode(context.Context, dispatcher.Message) { panic("\x1b[2J") }

// A key function that panics loses its message only: those before it in the
// same hand-over reach the channel, also when nothing comes after.
func TestKeyFunctionPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan dispatcher.Message, 10)
		d := start(t, dispatcher.Config{}, dispatcher.NewSubscriber("c", ch, false, "tx", 1,
			dispatcher.WithPolicy(dispatcher.NewestPerKey), dispatcher.WithKey(func(m dispatcher.Message) string {
				if string(m.Data()) == "bad" {
					panic("no key")
				}
				return string(m.Data())
			})))
		if _, err := d.PutMessages(t.Context(), []dispatcher.Message{msg("tx", "1"), msg("tx", "2"), msg("tx", "bad")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want(t, "in the channel", drain(ch), []string{"1", "2"})
		if s := subStats(t, d, "c"); s.Panics != 1 || s.Delivered != 2 {
			t.Errorf("%+v", s)
		}
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
