package reqresp

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

var stream = &Spec{Name: "stream", Kind: Stream}

// The first answer arrives before the last is made, and the handler is no further
// ahead than the window.
func TestStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		var made atomic.Int64
		serve(t, b, stream, streaming(func(_ context.Context, req []byte, yield func([]byte) bool) error {
			for i := range 1000 {
				made.Add(1)
				if !yield(bytes.Repeat([]byte{byte(i)}, 20_000)) {
					return nil
				}
			}
			return nil
		}))
		n := 0
		for answer, err := range a.e.Stream(t.Context(), b.ID(), stream, []byte("go")) {
			if err != nil || len(answer) != 20_000 || answer[0] != byte(n) || answer[19_999] != byte(n) {
				t.Fatal(n, len(answer), err)
			}
			n++
			if n%100 == 1 {
				time.Sleep(5 * time.Second) // a slow program
				if ahead := int(made.Load()) - n; ahead > DefaultWindow/20_000+3 {
					t.Fatalf("the handler is %d answers ahead", ahead)
				}
			}
		}
		if n != 1000 {
			t.Error(n, "answers")
		}
		if st := b.e.Stats(); st.Served != 0 || st.Methods["stream"].Answered != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// Ending the loop ends the handler.
func TestStreamStops(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		ended := make(chan error, 1)
		serve(t, b, stream, streaming(func(ctx context.Context, _ []byte, yield func([]byte) bool) error {
			for yield(make([]byte, 1000)) {
			}
			ended <- ctx.Err()
			return nil
		}))
		began := time.Now()
		for _, err := range a.e.Stream(t.Context(), b.ID(), stream, nil) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if err := <-ended; err == nil || time.Since(began) > 100*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		synctest.Wait()
		if st := a.e.Stats(); st.Calls != 0 {
			t.Error(st.Calls, "calls are left")
		}
	})
}

// What came before an error is given first, and a loop with a context ends with it.
func TestStreamEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		serve(t, b, stream, streaming(func(ctx context.Context, req []byte, yield func([]byte) bool) error {
			for range 3 {
				yield(req)
			}
			if string(req) == "fail" {
				return NotFound
			}
			<-ctx.Done()
			return nil
		}))
		for req, check := range map[string]func(error) bool{
			"fail": func(err error) bool { return code(err) == NotFound },
			"hang": func(err error) bool { return isTransport(err) && errors.Is(err, context.DeadlineExceeded) },
		} {
			n, last := 0, error(nil)
			began := time.Now()
			for _, err := range a.e.Stream(t.Context(), b.ID(), stream, []byte(req)) {
				if last = err; err == nil {
					n++
				}
			}
			if n != 3 || !check(last) || time.Since(began) > DefaultDeadline+time.Second {
				t.Errorf("%s: %d answers in %s, then %v", req, n, time.Since(began), last)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		for _, err := range a.e.Stream(ctx, b.ID(), stream, []byte("hang")) {
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("ended after %s", d)
		}
	})
}

// One GiB moves in answers of 1 MiB, with little memory at both ends.
func TestGigabyte(t *testing.T) {
	if testing.Short() {
		t.Skip("moves a GiB")
	}
	a, b := loopback(t, nil)
	const size, n = 1 << 20, 1024
	payload := make([]byte, size)
	serve(t, b, stream, streaming(func(_ context.Context, _ []byte, yield func([]byte) bool) error {
		for range n {
			if !yield(payload) {
				break
			}
		}
		return nil
	}))
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	got, most := 0, uint64(0)
	for answer, err := range a.e.Stream(t.Context(), b.ID(), stream, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got += len(answer)
		if got%(64<<20) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	if got != n*size {
		t.Errorf("%d bytes", got)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("%d MiB of live heap for both ends", grown>>20)
	}
}

var upload = &Spec{Name: "upload", Kind: Upload, MaxRequest: 1 << 20}

func TestUpload(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		var taken atomic.Int64
		serve(t, b, upload, Handler{Upload: func(_ context.Context, _ peer.ID, reqs iter.Seq2[[]byte, error]) ([]byte, error) {
			n := 0
			for req, err := range reqs {
				if err != nil {
					return nil, err
				}
				if string(req) == "enough" {
					break
				}
				n += len(req)
				if taken.Add(1)%50 == 0 {
					time.Sleep(3 * time.Second) // a slow handler
				}
			}
			return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, nil
		}})
		sent := 0
		answer, err := a.e.Upload(t.Context(), b.ID(), upload, func(yield func([]byte, error) bool) {
			for i := range 200 {
				sent++
				if ahead := sent - int(taken.Load()); ahead > uploadWindow/10_000+4 {
					t.Errorf("%d requests ahead of the handler", ahead)
				}
				if !yield(make([]byte, 10_000+i), nil) {
					return
				}
			}
		})
		want := 200*10_000 + 199*100
		if err != nil || !slices.Equal(answer, []byte{byte(want >> 24), byte(want >> 16), byte(want >> 8), byte(want)}) {
			t.Error(answer, err)
		}
		// An answer before the end ends the requests; one message may be larger than
		// the window.
		sent = 0
		_, err = a.e.Upload(t.Context(), b.ID(), upload, func(yield func([]byte, error) bool) {
			for sent = range 1_000_000 {
				msg := []byte("enough")
				if sent == 0 {
					msg = make([]byte, 1<<20)
				}
				if !yield(msg, nil) {
					return
				}
			}
		})
		if err != nil || sent > 2000 {
			t.Errorf("%d requests were sent: %v", sent, err)
		}
		own := errors.New("mine")
		if _, err := a.e.Upload(t.Context(), b.ID(), upload, func(yield func([]byte, error) bool) { yield(nil, own) }); err != own {
			t.Error(err)
		}
		if _, err := a.e.Upload(t.Context(), b.ID(), upload, func(yield func([]byte, error) bool) { yield(make([]byte, 1<<20+1), nil) }); code(err) != TooLarge {
			t.Error(err)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		if st := b.e.Stats(); st.Served != 0 || st.Methods["upload"].Running != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

// A caller that takes nothing of a stream keeps its handler for the deadline, and
// holds up nobody else on the same stream.
func TestStreamThatNobodyTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		ended := make(chan time.Time, 1)
		serve(t, b, stream, streaming(func(_ context.Context, req []byte, yield func([]byte) bool) error {
			if string(req) == "short" {
				yield(req)
				return nil
			}
			for yield(make([]byte, 64<<10)) {
			}
			ended <- time.Now()
			return nil
		}))
		began := time.Now()
		for range a.e.Stream(t.Context(), b.ID(), stream, nil) {
			time.Sleep(time.Second)
			for answer, err := range a.e.Stream(t.Context(), b.ID(), stream, []byte("short")) {
				if err != nil || string(answer) != "short" || time.Since(began) > 2*time.Second {
					t.Error(time.Since(began), err)
				}
			}
			time.Sleep(time.Minute)
			break
		}
		if d := (<-ended).Sub(began); d < DefaultDeadline || d > 2*DefaultDeadline+time.Second {
			t.Errorf("the handler ended after %s", d)
		}
	})
}

// Messages without content are messages.
func TestEmptyMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		serve(t, b, stream, streaming(func(_ context.Context, _ []byte, yield func([]byte) bool) error {
			for range 50_000 {
				if !yield(nil) {
					t.Error("stopped")
				}
			}
			return nil
		}))
		n := 0
		for answer, err := range a.e.Stream(t.Context(), b.ID(), stream, nil) {
			if err != nil || len(answer) != 0 {
				t.Fatal(err)
			}
			n++
		}
		if n != 50_000 {
			t.Error(n)
		}
	})
}

// More than there is credit for is a violation.
func TestTooMuchForTheCredit(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(nil)
		entered := make(chan bool)
		serve(t, b, upload, Handler{Upload: func(ctx context.Context, _ peer.ID, _ iter.Seq2[[]byte, error]) ([]byte, error) {
			close(entered)
			<-ctx.Done()
			return nil, nil
		}})
		s := raw(t, a, b, 1)
		say(t, s, frame(header{kind: kindOpen, call: 1}, 0, 0))
		<-entered
		for range 5 {
			if _, err := s.Write(frame(header{kind: kindData, call: 1}, append([]byte{0x80, 0x7d}, make([]byte, 16_000)...)...)); err != nil {
				break
			}
		}
		time.Sleep(time.Second)
		if !slices.Equal(b.violations(), []Fault{FaultCredit}) {
			t.Error(b.violations())
		}
	})
}
