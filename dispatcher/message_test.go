package dispatcher_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/dispatcher"
)

func TestHashOnce(t *testing.T) {
	m := dispatcher.NewMessage("tx", "peer", []byte("payload"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := m.Hash(); got != dispatcher.HashOf("tx", []byte("payload")) {
				t.Errorf("hash %s", got)
			}
		})
	}
	wg.Wait()
	// The data must not change; if it does, it shows that the hash was kept.
	first := m.Hash()
	m.Data()[0] = 'P'
	if m.Hash() != first {
		t.Error("computed twice")
	}
	if n := testing.AllocsPerRun(10, func() { _ = m.Hash() }); n != 0 {
		t.Errorf("%v allocations for a hash that is known", n)
	}
	// By Python: sha3_256((2).to_bytes(8, "big") + b"tx" + b"payload").
	const known = "f325e9ac7c3daeb17d7c696957ef3be8e721c3fa7974cd16bf1c2987a906d0f0"
	if got := dispatcher.HashOf("tx", []byte("payload")); got != known {
		t.Errorf("hash %s, want %s", got, known)
	}
}

func TestAppendMessages(t *testing.T) {
	var payloads [][]byte
	for i := range 40 {
		payloads = append(payloads, fmt.Appendf(nil, "%d", i))
	}
	payloads[5] = make([]byte, 5000)
	var msgs []dispatcher.Message
	msgs = dispatcher.AppendMessages(msgs, "tx", "peer", payloads)
	for i, m := range msgs {
		if m.MessageType() != "tx" || m.MessageFrom() != "peer" || string(m.Data()) != string(payloads[i]) {
			t.Errorf("message %d: %v", i, m)
		}
	}
	n := testing.AllocsPerRun(100, func() { msgs = dispatcher.AppendMessages(msgs[:0], "tx", "peer", payloads) })
	if n > 5 { // three slabs, what all have in common, and the large one
		t.Errorf("%v allocations for 40 messages", n)
	}
}

func TestValidType(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "Az09._-": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a/b": false, "a b": false, "a\n": false, "é": false, "\x00": false,
	} {
		if err := dispatcher.ValidType(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzValidType(f *testing.F) {
	for _, s := range []string{"", "block", "a.b_c-D9", "a/b", "\xff", strings.Repeat("x", 65)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ok := len(s) >= 1 && len(s) <= 64 &&
			strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == ""
		if err := dispatcher.ValidType(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{})
		all := d.Messages(t.Context(), "tx", dispatcher.WithFilter(true))
		put(t, d, "tx", "1", "1", "2", "3") // before the loop over them
		var got []string
		for m := range all {
			if got = append(got, string(m.Data())); len(got) == 2 {
				break
			}
		}
		want(t, "got", got, []string{"1", "2"})
		if n := len(d.Stats().Subscribers); n != 0 {
			t.Errorf("%d subscribers after the loop", n)
		}
		put(t, d, "tx", "4")
		for m := range all {
			t.Errorf("a second loop got %s", m.Data())
		}
		for range d.Messages(t.Context(), "not valid") {
			t.Error("a message of an invalid type")
		}
	})
}

func TestMessagesEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dispatcher.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range d.Messages(ctx, "tx") {
			t.Error("a message from nowhere")
		}
		never := d.Messages(ctx, "tx") // never ranged over, and gone all the same
		_ = never
		synctest.Wait()
		if n := len(d.Stats().Subscribers); n != 0 {
			t.Errorf("%d subscribers", n)
		}
	})
}

// Each of several loops over one subscription gets a part, and they end when
// the dispatcher does.
func TestSubscriptionShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := dispatcher.NewSubscription("s", "tx", dispatcher.WithPolicy(dispatcher.Lossless))
		for range sub.All(t.Context()) {
			t.Error("a message before it was registered")
		}
		d := start(t, dispatcher.Config{}, sub)
		var r recorder
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for m := range sub.All(context.Background()) {
					r.add(context.Background(), m)
				}
			})
		}
		put(t, d, "tx", numbers(0, 100)...)
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if n := len(r.got()); n != 100 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := metrics.NewRegistry()
		d, err := dispatcher.New(dispatcher.Config{TickInterval: time.Second}, quiet(), dispatcher.WithMetrics(reg))
		if err != nil {
			t.Fatal(err)
		}
		ch := make(chan dispatcher.Message, 1)
		stuck := newUnread("s", "block", false, 2)
		if err := d.Register(dispatcher.NewSubscriber("c", ch, true, "tx", 1), stuck); err != nil {
			t.Fatal(err)
		}
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		put(t, d, "tx", "1", "1", "2")
		put(t, d, "block", "1", "2")
		for i := range 100 {
			put(t, d, fmt.Sprintf("unknown%d", i), "x")
		}
		time.Sleep(time.Second + time.Millisecond)
		count := func(name string) int64 {
			switch m := reg.Get(name).(type) {
			case metrics.Counter:
				return m.Count()
			case metrics.Gauge:
				return m.Value()
			}
			return -1
		}
		for name, want := range map[string]int64{
			"neb.net.dispatcher.cached":                  2,
			"neb.net.dispatcher.received":                105,
			"neb.net.dispatcher.delivered":               3,
			"neb.net.dispatcher.duplicate":               1,
			"neb.net.dispatcher.unrouted":                100,
			"neb.net.dispatcher.dropped.subscriber_full": 1,
			"neb.net.dispatcher.received.tx":             3,
			"neb.net.dispatcher.lost.tx":                 1,
			"neb.net.dispatcher.unrouted.(other)":        100,
			"neb.net.dispatcher.received.unknown1":       -1,
		} {
			if got := count(name); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
		want(t, "unread", read(t, stuck), numbers(1, 3))
		if err := d.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := count("neb.net.dispatcher.delivered"); got != 3 {
			t.Errorf("delivered %d after Stop, want 3", got)
		}
		if got := count("neb.net.dispatcher.cached"); got != 0 {
			t.Errorf("cached %d after Stop, want 0", got)
		}
	})
}
