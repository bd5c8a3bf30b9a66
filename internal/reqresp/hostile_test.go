package reqresp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// deadStream is a stream on which nothing comes or goes.
type deadStream struct{ network.Stream }

func (deadStream) Reset() error { return nil }

// raw opens a stream to a node as a peer that may say anything on it.
func raw(t *testing.T, from, to *node, number uint32) network.Stream {
	t.Helper()
	s, err := from.NewStream(network.WithNoDial(t.Context(), "test"), to.ID(), Protocol(testNetwork))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Reset() })
	s.SetDeadline(time.Now().Add(time.Hour))
	say(t, s, appendHead(nil, number))
	return s
}

// Close does not wait for a peer that opens a stream and says nothing on it, or does not
// read why it is refused; nor is the peer to blame.
func TestCloseBesideSilentStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		s, err := a.NewStream(network.WithNoDial(t.Context(), "test"), b.ID(), Protocol(testNetwork))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		say(t, s, appendHead(nil, 300)[:1])
		raw(t, a, b, 999) // no method has that number
		synctest.Wait()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.e.Close(ctx); err != nil {
			t.Error(err)
		}
		if f := b.violations(); len(f) > 0 {
			t.Errorf("blamed for %v", f)
		}
	})
}

func say(t *testing.T, s network.Stream, b []byte) {
	t.Helper()
	if _, err := s.Write(b); err != nil {
		t.Fatal(err)
	}
}

func frame(h header, body ...byte) []byte {
	h.size = len(body)
	return append(appendHeader(nil, h), body...)
}

// opening is the open frame of a unary call with a small request.
func opening(call uint64, req string) []byte {
	body := append([]byte{0, 0, byte(len(req))}, req...)
	return frame(header{kind: kindOpen, end: true, call: call}, body...)
}

// answers reads frames until the stream ends, and returns what each was.
func answers(s network.Stream, most int) (got []string) {
	r := newFrameReader(s)
	for len(got) < most {
		h, err := r.next()
		if err != nil {
			if err != io.EOF {
				got = append(got, "reset")
			}
			return got
		}
		body := make([]byte, h.size)
		r.read(body)
		if h.kind == kindError {
			got = append(got, fmt.Sprintf("%d %s", h.call, Code(body[0])))
			continue
		}
		got = append(got, fmt.Sprintf("%d %s", h.call, body[1:]))
	}
	return got
}

// Row 25: a handler that panics, or ends its goroutine, hurts nobody else.
func TestHandlerPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		serve(t, b, ask, unary(func(_ context.Context, req []byte) ([]byte, error) {
			switch string(req) {
			case "panic":
				panic("at the disco")
			case "exit":
				runtime.Goexit()
			}
			return req, nil
		}))
		for _, req := range []string{"panic", "fine", "exit", "fine"} {
			_, err := a.e.Call(t.Context(), b.ID(), ask, []byte(req))
			if req == "fine" && err != nil || req != "fine" && (code(err) != Internal || bytes.Contains([]byte(err.Error()), []byte("disco"))) {
				t.Error(req, err)
			}
		}
		if n := b.count(obs.RequestPanics + ".ask"); n != 2 {
			t.Error(n, "panics were counted")
		}
		if st := b.e.Stats(); st.Served != 0 || st.Methods["ask"].Running != 0 || len(b.violations())+len(a.violations()) != 0 {
			t.Errorf("%+v, %v", st, b.violations())
		}
	})
}

// Row 27: the number of an earlier call is dropped and counted.
func TestReusedNumber(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		var handled atomic.Int64
		serve(t, b, ask, unary(func(_ context.Context, req []byte) ([]byte, error) { handled.Add(1); return req, nil }))
		s := raw(t, a, b, 1)
		say(t, s, slices.Concat(opening(5, "a"), opening(5, "b"), opening(4, "c"), opening(6, "d")))
		got := answers(s, 2)
		slices.Sort(got)
		if !slices.Equal(got, []string{"5 a", "6 d"}) {
			t.Errorf("%q", got)
		}
		if !slices.Equal(b.violations(), []Fault{FaultReused, FaultReused}) || handled.Load() != 2 {
			t.Error(b.violations(), handled.Load())
		}
	})
}

// Row 27: answers to calls that were never made are dropped and counted; those
// to calls that were given up are dropped alone.
func TestUnsolicitedAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		shelf{w.book, b.ID()}.Offer(ask)
		b.SetStreamHandler(Protocol(testNetwork), func(s network.Stream) {
			defer s.Reset()
			readHead(s)
			r := newFrameReader(s)
			for {
				h, err := r.next()
				if err != nil {
					return
				}
				if h.kind != kindOpen {
					continue
				}
				if h.call == 1 {
					time.Sleep(time.Second) // too late for the first call
				}
				s.Write(frame(header{kind: kindData, end: true, call: 99}, 1, 'x'))
				s.Write(frame(header{kind: kindData, end: true, call: h.call}, 1, 'y'))
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := a.e.Call(ctx, b.ID(), ask, nil); !isTransport(err) {
			t.Error(err)
		}
		got, err := a.e.Call(t.Context(), b.ID(), ask, nil)
		if err != nil || string(got) != "y" {
			t.Error(string(got), err)
		}
		if !slices.Equal(a.violations(), []Fault{FaultUnsolicited, FaultUnsolicited}) {
			t.Error(a.violations())
		}
	})
}

// What no honest peer sends resets its stream, and counts.
func TestViolations(t *testing.T) {
	huge := binary.AppendUvarint([]byte{0, 0}, 1<<40)
	for _, tc := range []struct {
		name string
		say  []byte
		want Fault
	}{
		{"no frame", []byte{0, 0, 0}, FaultFrame},
		{"call 0", opening(0, "x"), FaultOrder},
		{"data of no call", frame(header{kind: kindData, call: 7}, 1, 'x'), FaultOrder},
		{"an error from the caller", slices.Concat(opening(1, "wait"), frame(header{kind: kindError, call: 1}, 1, 0)), FaultOrder},
		{"credit where there is none", slices.Concat(opening(1, "wait"), frame(header{kind: kindCredit, call: 1}, 9)), FaultCredit},
		{"a window where there is none", frame(header{kind: kindOpen, call: 1}, 0, 0x80, 0x80, 0x04), FaultFrame},
		{"the end within a message", frame(header{kind: kindOpen, end: true, call: 1}, 0, 0, 9, 'x'), FaultFrame},
		{"more than the message", slices.Concat(frame(header{kind: kindOpen, call: 1}, 0, 0, 2, 'x'), frame(header{kind: kindData, call: 1}, 'y', 'z')), FaultFrame},
		{"a request after the end", slices.Concat(opening(1, "wait"), frame(header{kind: kindData, call: 1}, 1, 'x')), FaultOrder},
		{"a cancel with a body", slices.Concat(opening(1, "wait"), frame(header{kind: kindCancel, call: 1}, 1)), FaultFrame},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a, b := w.pair(nil)
				serve(t, b, ask, unary(func(ctx context.Context, req []byte) ([]byte, error) {
					if string(req) == "wait" {
						<-ctx.Done()
					}
					return req, nil
				}))
				s := raw(t, a, b, 1)
				say(t, s, tc.say)
				if got := answers(s, 9); !slices.Equal(got, []string{"reset"}) {
					t.Errorf("%q", got)
				}
				synctest.Wait()
				if !slices.Equal(b.violations(), []Fault{tc.want}) {
					t.Error(b.violations())
				}
				if st := b.e.Stats(); st.Served != 0 || st.ServedBytes != 0 || st.Methods["ask"].Running != 0 {
					t.Errorf("left behind: %+v", st)
				}
			})
		})
	}
	t.Run("too large", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			a, b := w.pair(nil)
			serve(t, b, ask, echo)
			s := raw(t, a, b, 1)
			// The request is refused before anything is allocated, what comes of it is
			// skipped, and the next one is served.
			say(t, s, slices.Concat(frame(header{kind: kindOpen, call: 1}, append(huge, 'x')...), frame(header{kind: kindData, call: 1}, make([]byte, 1000)...), opening(2, "next")))
			if got := answers(s, 2); !slices.Equal(got, []string{"1 too large", "2 next"}) {
				t.Errorf("%q", got)
			}
		})
	})
	t.Run("not offered", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			a, b := w.pair(nil)
			s := raw(t, a, b, 77)
			say(t, s, opening(1, "x"))
			if got := answers(s, 2); !slices.Equal(got, []string{"0 unsupported"}) {
				t.Errorf("%q", got)
			}
		})
	})
}

// A request that is announced and trickles holds what has come, until its deadline.
func TestTricklingRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		big := &Spec{Name: "big", Kind: Unary, MaxRequest: 64 << 20}
		serve(t, b, big, echo)
		s := raw(t, a, b, 1)
		for call := range uint64(20) {
			body := binary.AppendUvarint([]byte{0, 0}, 5<<20)
			say(t, s, frame(header{kind: kindOpen, call: call + 1}, append(body, 'x')...))
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if st := b.e.Stats(); st.ServedBytes > DefaultMaxBytesPerPeer || st.Served != 6 {
			t.Errorf("%d calls hold %d bytes", st.Served, st.ServedBytes)
		}
		var refused []string
		for range 14 {
			refused = append(refused, answers(s, 1)...)
		}
		if !slices.Contains(refused, "7 busy") || len(refused) != 14 {
			t.Errorf("%q", refused)
		}
		time.Sleep(DefaultDeadline + tick)
		if st := b.e.Stats(); st.ServedBytes != 0 || st.Served != 0 {
			t.Errorf("after the deadline %d calls hold %d bytes", st.Served, st.ServedBytes)
		}
	})
}

// A flood of calls: those above the limits are busy, memory is bounded, and another
// peer is served at once.
func TestFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		honest := w.node(nil)
		w.connect(honest, b)
		spec := &Spec{Name: "work", Kind: Unary, Concurrency: 8, PerPeer: 4}
		var running, most atomic.Int64
		serve(t, b, spec, Handler{Unary: func(_ context.Context, from peer.ID, req []byte) ([]byte, error) {
			if from == a.ID() {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
			}
			time.Sleep(10 * time.Millisecond)
			return req, nil
		}})
		s := raw(t, a, b, 1)
		busy, served := 0, 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, what := range answers(s, 20_000) {
				if bytes.HasSuffix([]byte(what), []byte("busy")) {
					busy++
				} else {
					served++
				}
			}
		})
		wg.Go(func() {
			for i := range uint64(20_000) {
				if _, err := s.Write(opening(i+1, "x")); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for range 20 {
			began := time.Now()
			if _, err := honest.e.Call(t.Context(), b.ID(), spec, nil); err != nil || time.Since(began) > 60*time.Millisecond {
				t.Error("an honest peer's call:", time.Since(began), err)
			}
		}
		wg.Wait()
		if busy+served != 20_000 || busy < 1000 || served < 64 || most.Load() > 4 {
			t.Errorf("%d busy, %d served, %d at once", busy, served, most.Load())
		}
	})
}

// A peer that asks and reads no answers: it is read no further, holds little, and
// loses its stream; another peer is served.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		honest := w.node(nil)
		w.connect(honest, b)
		spec := &Spec{Name: "bulk", Kind: Unary}
		serve(t, b, spec, unary(func(context.Context, []byte) ([]byte, error) { return make([]byte, 1<<20), nil }))
		s := raw(t, a, b, 1)
		var ended atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := uint64(1); ; i++ {
				if _, err := s.Write(opening(i, "x")); err != nil {
					ended.Store(true)
					return
				}
			}
		})
		for range 20 {
			time.Sleep(time.Second)
			st := b.e.Stats()
			if st.ServedBytes > DefaultMaxBytesPerPeer+DefaultPerPeer<<20 {
				t.Fatalf("%d calls hold %d bytes", st.Served, st.ServedBytes)
			}
			if st.Methods["bulk"].Running > 1 {
				t.Fatal("answers that nobody takes keep handlers:", st.Methods["bulk"].Running)
			}
			if _, err := honest.e.Call(t.Context(), b.ID(), spec, nil); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(DefaultWriteTimeout)
		wg.Wait()
		if !ended.Load() || !slices.Contains(b.violations(), FaultStalled) {
			t.Error("the stream stands:", b.violations())
		}
		if st := b.e.Stats(); st.Served != 0 || st.ServedBytes != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

// A peer that never answers: calls end at their deadlines, others meanwhile are not
// held up, and the outcome is reported.
func TestNeverAnswering(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		c := w.node(nil)
		w.connect(a, c)
		serve(t, c, ask, echo)
		shelf{w.book, b.ID()}.Offer(ask)
		b.SetStreamHandler(Protocol(testNetwork), func(s network.Stream) { io.Copy(io.Discard, s); s.Reset() })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				began := time.Now()
				_, err := a.e.Call(t.Context(), b.ID(), ask, nil)
				if !isTransport(err) || time.Since(began) != DefaultDeadline {
					t.Error(time.Since(began), err)
				}
			})
		}
		began := time.Now()
		if _, err := a.e.Call(t.Context(), c.ID(), ask, nil); err != nil || time.Since(began) > 50*time.Millisecond {
			t.Error(time.Since(began), err)
		}
		wg.Wait()
		failed := 0
		for _, o := range a.reported() {
			if o.Err != nil {
				failed++
			}
		}
		if failed != 50 {
			t.Error(failed, "failures were reported")
		}
	})
}

// One slow answer holds up no other on the same stream, also a large one that its
// caller does not take.
func TestNothingIsHeldUp(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		release := make(chan bool)
		serve(t, b, ask, unary(func(_ context.Context, req []byte) ([]byte, error) {
			if string(req) == "slow" {
				<-release
			}
			return req, nil
		}))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.e.Call(t.Context(), b.ID(), ask, []byte("slow")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 10 {
			began := time.Now()
			if _, err := a.e.Call(t.Context(), b.ID(), ask, []byte("fast")); err != nil || time.Since(began) > 50*time.Millisecond {
				t.Error(time.Since(began), err)
			}
		}
		close(release)
		wg.Wait()
	})
}

// Streams opened as fast as can be are refused before long, and leave nothing.
func TestStreamStorm(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		serve(t, b, ask, echo)
		for range 2 * int(streamRate.Burst) {
			s := raw(t, a, b, 1)
			s.Write(opening(1, "x"))
			answers(s, 1)
			s.Reset()
		}
		time.Sleep(time.Second)
		if !slices.Contains(b.violations(), FaultStreams) {
			t.Error("a storm of streams is let in")
		}
		b.e.mu.Lock()
		left := len(b.e.servers)
		b.e.mu.Unlock()
		if st := b.e.Stats(); left != 0 || st.Served != 0 {
			t.Errorf("%d streams and %d calls are left", left, st.Served)
		}
	})
}
