package reqresp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

var ask = &Spec{Name: "ask", Kind: Unary}

func TestUnary(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		big := &Spec{Name: "big", Kind: Unary, MaxRequest: 8 << 20, MaxAnswer: 8 << 20}
		serve(t, b, big, echo)
		for _, size := range []int{0, 1, 100, smallMessage, smallMessage + 1, maxFragment, 1 << 20, 8 << 20} {
			req := bytes.Repeat([]byte{byte(size)}, size)
			got, err := a.e.Call(t.Context(), b.ID(), big, req)
			if err != nil || !bytes.Equal(got, req) {
				t.Errorf("%d bytes: %d, %v", size, len(got), err)
			}
		}
		if _, err := a.e.Call(t.Context(), b.ID(), big, make([]byte, 8<<20+1)); code(err) != TooLarge {
			t.Error("a request above the limit:", err)
		}
		st := b.e.Stats().Methods["big"]
		if st.Answered != 8 || st.Handled != 8 {
			t.Errorf("%+v", st)
		}
		if n := len(a.reported()); n != 9 {
			t.Error(n, "outcomes")
		}
	})
}

// Many calls at once share one stream, whose answers come in any order.
func TestManyCallsOneStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		spec := &Spec{Name: "sleep", Kind: Unary, Concurrency: 64, PerPeer: 64, MaxAnswer: 1 << 20}
		serve(t, b, spec, unary(func(_ context.Context, req []byte) ([]byte, error) {
			time.Sleep(time.Duration(100-req[0]) * time.Millisecond)
			return append(make([]byte, int(req[0])*1000), req[0]), nil
		}))
		var wg sync.WaitGroup
		began := time.Now()
		for i := range 60 {
			wg.Go(func() {
				got, err := a.e.Call(t.Context(), b.ID(), spec, []byte{byte(i)})
				if err != nil || got[len(got)-1] != byte(i) {
					t.Error(i, err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(began); d > 300*time.Millisecond {
			t.Errorf("60 calls took %s", d)
		}
		streams := 0
		for _, c := range a.Network().ConnsToPeer(b.ID()) {
			for _, s := range c.GetStreams() {
				if s.Protocol() == Protocol(testNetwork) {
					streams++
				}
			}
		}
		if streams != 1 {
			t.Error(streams, "streams")
		}
	})
}

func TestErrorsTravel(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		var answer error
		serve(t, b, ask, unary(func(context.Context, []byte) ([]byte, error) { return nil, answer }))
		for _, tc := range []struct {
			give error
			want Code
			text string
		}{
			{fmt.Errorf("secret: %w", NotFound), NotFound, ""},
			{&Error{Code: Busy, RetryAfter: 3 * time.Second}, Busy, ""},
			{&Error{Code: BadRequest, Text: "no such\x1b height"}, BadRequest, "no such? height"},
			{&Error{Code: 130}, 130, ""},
			{errors.New("the password is 1234"), Internal, ""},
		} {
			answer = tc.give
			_, err := a.e.Call(t.Context(), b.ID(), ask, nil)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != tc.want || e.Text != tc.text || e.Peer != b.ID() || !errors.Is(err, tc.want) || e.Local {
				t.Errorf("%v came as %v", tc.give, err)
			}
			if isTransport(err) || strings.Contains(err.Error(), "1234") {
				t.Error(err)
			}
			if tc.want == Busy && e.RetryAfter != 3*time.Second {
				t.Errorf("%+v", e)
			}
		}
		answer = nil
		huge := unary(func(context.Context, []byte) ([]byte, error) { return make([]byte, DefaultMaxAnswer+1), nil })
		serve(t, b, &Spec{Name: "huge", Kind: Unary}, huge)
		if _, err := a.e.Call(t.Context(), b.ID(), &Spec{Name: "huge", Kind: Unary}, nil); code(err) != Internal {
			t.Error("an answer above the limit:", err)
		}
	})
}

func TestUnsupported(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		call := func() error {
			_, err := a.e.Call(t.Context(), b.ID(), ask, []byte("x"))
			return err
		}
		if err := call(); code(err) != Unsupported || !errors.Is(err, Unsupported) {
			t.Error(err)
		}
		stop, err := b.e.Serve(ask, echo)
		if err != nil {
			t.Fatal(err)
		}
		if err := call(); err != nil {
			t.Error("served by now:", err)
		}
		if _, err := b.e.Serve(ask, echo); !errors.Is(err, ErrServed) {
			t.Error("served twice:", err)
		}
		stop()
		synctest.Wait()
		if err := call(); code(err) != Unsupported {
			t.Error("no longer served:", err)
		}
		serve(t, b, &Spec{Name: "ask", Kind: Stream}, streaming(func(context.Context, []byte, func([]byte) bool) error { return nil }))
		if err := call(); code(err) != Unsupported {
			t.Error("another kind:", err)
		}
		if _, err := b.e.Serve(&Spec{Name: "x", Kind: Unary}, Handler{}); err == nil {
			t.Error("no handler")
		}
		if _, err := b.e.Serve(&Spec{Name: "x/y", Kind: Unary}, echo); err == nil {
			t.Error("a bad name")
		}
		// A host that offers what it does not know, nor the protocol.
		c := w.net.Host(t, w.net.Node(9))
		if err := a.Connect(t.Context(), testnet.Info(c)); err != nil {
			t.Fatal(err)
		}
		shelf{w.book, c.ID()}.Offer(ask)
		if _, err := a.e.Call(t.Context(), c.ID(), ask, nil); code(err) != Unsupported {
			t.Error("a host without the protocol:", err)
		}
	})
}

func TestDeadlinesTravel(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		ended := make(chan time.Duration, 1)
		serve(t, b, ask, unary(func(ctx context.Context, _ []byte) ([]byte, error) {
			began := time.Now()
			<-ctx.Done()
			ended <- time.Since(began)
			return nil, ctx.Err()
		}))
		for _, limit := range []time.Duration{300 * time.Millisecond, 0} {
			ctx, cancel := t.Context(), func() {}
			want := DefaultDeadline
			if limit > 0 {
				ctx, cancel = context.WithTimeout(ctx, limit)
				want = limit
			}
			began := time.Now()
			_, err := a.e.Call(ctx, b.ID(), ask, nil)
			cancel()
			if d := time.Since(began); d < want-time.Millisecond || d > want+50*time.Millisecond {
				t.Errorf("the call took %s, its deadline was %s", d, want)
			}
			ne, ok := err.(net.Error)
			if !errors.Is(err, context.DeadlineExceeded) || !ok || !ne.Timeout() {
				t.Error(err)
			}
			if d := <-ended; d < want-20*time.Millisecond || d > want+20*time.Millisecond {
				t.Errorf("the handler had %s of %s", d, want)
			}
		}
	})
}

func TestCancellationTravels(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		entered, ended := make(chan bool), make(chan bool, 1)
		serve(t, b, ask, unary(func(ctx context.Context, _ []byte) ([]byte, error) {
			entered <- true
			<-ctx.Done()
			ended <- true
			return nil, nil
		}))
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no longer needed")
		began := time.Now()
		go func() {
			<-entered
			cancel(why)
		}()
		if _, err := a.e.Call(ctx, b.ID(), ask, nil); !errors.Is(err, why) {
			t.Error(err)
		}
		<-ended
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("the handler heard of it after %s", d)
		}
		if _, err := a.e.Call(ctx, b.ID(), ask, nil); !errors.Is(err, why) {
			t.Error("a context that has ended before:", err)
		}
		if n := len(a.reported()); n != 0 {
			t.Error("a call that was given up says something about the peer")
		}
	})
}

// When a session ends, all its calls do at once, on both sides.
func TestSessionEnds(t *testing.T) {
	for _, side := range []string{"caller", "server", "connection"} {
		t.Run(side, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a, b := w.pair(nil)
				entered, left := make(chan bool), make(chan bool, 8)
				serve(t, b, ask, unary(func(ctx context.Context, _ []byte) ([]byte, error) {
					entered <- true
					<-ctx.Done()
					left <- true
					return nil, nil
				}))
				errs := make(chan error)
				for range 3 {
					go func() {
						_, err := a.e.Call(t.Context(), b.ID(), ask, nil)
						errs <- err
					}()
					<-entered
				}
				began := time.Now()
				switch side {
				case "caller":
					a.part(b.ID())
				case "server":
					b.part(a.ID())
				default:
					w.net.Reset(w.net.Node(1), w.net.Node(2))
				}
				for range 3 {
					if err := <-errs; !isTransport(err) || code(err) != 0 {
						t.Error(err)
					}
					<-left
				}
				if d := time.Since(began); d > 100*time.Millisecond {
					t.Errorf("after %s", d)
				}
				a.part(b.ID())
				if _, err := a.e.Call(t.Context(), b.ID(), ask, nil); !errors.Is(err, ErrNoSession) {
					t.Error("without a session:", err)
				}
			})
		})
	}
}

func TestStrangersAreNotServed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		var handled atomic.Int64
		serve(t, b, ask, unary(func(context.Context, []byte) ([]byte, error) { handled.Add(1); return nil, nil }))
		b.part(a.ID())
		if _, err := a.e.Call(t.Context(), b.ID(), ask, nil); !isTransport(err) {
			t.Error(err)
		}
		if handled.Load() != 0 || b.count(obs.RequestStrangers) != 1 {
			t.Error("a stranger was served")
		}
	})
}

func TestBusy(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		spec := &Spec{Name: "slow", Kind: Unary, Concurrency: 2, PerPeer: 2, Queue: 3, PeerQueue: 3}
		release := make(chan bool)
		serve(t, b, spec, unary(func(context.Context, []byte) ([]byte, error) { <-release; return nil, nil }))
		errs := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := a.e.Call(t.Context(), b.ID(), spec, nil)
				errs <- err
			}()
		}
		began := time.Now()
		for range 5 {
			err := <-errs
			e, _ := errors.AsType[*Error](err)
			if code(err) != Busy || e.RetryAfter <= 0 {
				t.Error(err)
			}
		}
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("busy after %s", d)
		}
		synctest.Wait()
		if n := len(errs); n != 0 {
			t.Error(n, "more were refused")
		}
		close(release)
		for range 5 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestRate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		spec := &Spec{Name: "rated", Kind: Unary, Rate: 2, Burst: 3}
		serve(t, b, spec, echo)
		for i := range 4 {
			_, err := a.e.Call(t.Context(), b.ID(), spec, nil)
			if i < 3 {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != Busy || e.RetryAfter < 300*time.Millisecond || e.RetryAfter > 500*time.Millisecond {
				t.Error(err)
				continue
			}
			time.Sleep(e.RetryAfter)
			if _, err := a.e.Call(t.Context(), b.ID(), spec, nil); err != nil {
				t.Error("after the time it told:", err)
			}
		}
	})
}

func TestCallersLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(func(c *Config) { c.MaxCallsPerPeer = 2 })
		entered, release := make(chan bool, 2), make(chan bool)
		serve(t, b, ask, unary(func(context.Context, []byte) ([]byte, error) { entered <- true; <-release; return nil, nil }))
		errs := make(chan error)
		for range 2 {
			go func() {
				_, err := a.e.Call(t.Context(), b.ID(), ask, nil)
				errs <- err
			}()
			<-entered
		}
		_, err := a.e.Call(t.Context(), b.ID(), ask, nil)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != Busy || !e.Local {
			t.Error(err)
		}
		close(release)
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if _, err := a.e.Call(t.Context(), b.ID(), ask, nil); err != nil {
			t.Error("there is room again:", err)
		}
	})
}

// A stream without calls is closed, and the next call opens another one.
func TestIdleStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		serve(t, b, ask, echo)
		call := func() {
			t.Helper()
			if _, err := a.e.Call(t.Context(), b.ID(), ask, nil); err != nil {
				t.Error(err)
			}
		}
		streams := func(n *node) int {
			n.e.mu.Lock()
			defer n.e.mu.Unlock()
			return len(n.e.callers) + len(n.e.servers)
		}
		call()
		time.Sleep(DefaultIdleTimeout - 10*time.Second)
		call()
		time.Sleep(DefaultIdleTimeout - 10*time.Second)
		if streams(a) != 1 || streams(b) != 1 {
			t.Error("a stream in use was closed")
		}
		time.Sleep(time.Minute)
		if streams(a) != 0 || streams(b) != 0 {
			t.Error("an idle stream is open:", streams(a), streams(b))
		}
		call()
		if n := len(b.violations()); n != 0 {
			t.Error(b.violations())
		}
	})
}

func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		entered, release := make(chan bool), make(chan bool)
		spec := &Spec{Name: "stubborn", Kind: Unary}
		serve(t, b, spec, unary(func(context.Context, []byte) ([]byte, error) { entered <- true; <-release; return nil, nil }))
		errs := make(chan error)
		go func() {
			_, err := a.e.Call(t.Context(), b.ID(), spec, nil)
			errs <- err
		}()
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		err := b.e.Close(ctx)
		if d := time.Since(began); d != 2*time.Second || err == nil || !strings.Contains(err.Error(), "stubborn (1)") {
			t.Errorf("%s: %v", d, err)
		}
		if err := <-errs; !isTransport(err) {
			t.Error(err)
		}
		close(release)
		if err := b.e.Close(t.Context()); err != nil {
			t.Error("again:", err)
		}
		if err := a.e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := a.e.Call(t.Context(), b.ID(), spec, nil); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Error("after Close:", err)
		}
		if _, err := a.e.Serve(ask, echo); !errors.Is(err, ErrClosed) {
			t.Error("after Close:", err)
		}
		if err := a.e.Start(a.Host, nil); !errors.Is(err, ErrClosed) {
			t.Error("after Close:", err)
		}
	})
}
