package pacing

import (
	"bytes"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// fake is a stream that keeps what is written, takes a time for it, and ends as
// streams do.
type fake struct {
	network.Stream
	got      bytes.Buffer
	writes   int
	takes    time.Duration
	deadline atomic.Pointer[time.Time]
	ended    atomic.Bool
}

var errEnded = errors.New("stream has ended")

func (f *fake) Write(p []byte) (int, error) {
	if f.ended.Load() {
		return 0, errEnded
	}
	done := time.Now().Add(f.takes)
	if d := f.deadline.Load(); d != nil && !d.IsZero() && !done.Before(*d) {
		time.Sleep(time.Until(*d))
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(f.takes)
	f.writes++
	return f.got.Write(p)
}

func (f *fake) Read(p []byte) (int, error)                   { return len(p), nil }
func (f *fake) SetWriteDeadline(t time.Time) error           { f.deadline.Store(&t); return nil }
func (f *fake) SetReadDeadline(time.Time) error              { return nil }
func (f *fake) CloseWrite() error                            { f.ended.Store(true); return nil }
func (f *fake) Close() error                                 { f.ended.Store(true); return nil }
func (f *fake) Reset() error                                 { f.ended.Store(true); return nil }
func (f *fake) ResetWithError(network.StreamErrorCode) error { f.ended.Store(true); return nil }

// full is a budget of which nothing answers, with its window taken.
func full(t *testing.T) *Budget {
	b := NewBudget()
	b.Attach(func(uint64) {})
	f := NewFlow(b)
	for b.fitsLocked(&Flow{b: b, class: Low, want: 4 << 10}, b.now()) > 0 {
		n, err := f.Begin(t.Context(), Low, 4<<10)
		if err != nil {
			t.Fatal(err)
		}
		f.End(n)
	}
	f.Leave()
	return b
}

func TestStreamWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(1e6, 20*time.Millisecond)
		raw := &fake{}
		s := NewStream(raw, l.b, Low)
		data := bytes.Repeat([]byte("0123456789"), 50_000)
		if n, err := s.Write(data); n != len(data) || err != nil || !bytes.Equal(raw.got.Bytes(), data) {
			t.Errorf("wrote %d, %v, %d arrived", n, err, raw.got.Len())
		}
		if raw.writes < 10 {
			t.Errorf("in %d pieces", raw.writes)
		}
		if n, err := s.Read(make([]byte, 5)); n != 5 || err != nil || !l.b.LastLife().Equal(time.Now()) {
			t.Errorf("read %d, %v", n, err)
		}
		l.b.close()
	})
}

// TestStreamEnds: whatever ends a write ends one that waits for its budget, too.
func TestStreamEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(s *Stream, b *Budget)
		want error
	}{
		{"deadline", func(s *Stream, _ *Budget) { s.SetDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
		{"past deadline", func(s *Stream, _ *Budget) { s.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{"CloseWrite", func(s *Stream, _ *Budget) { s.CloseWrite() }, errEnded},
		{"Close", func(s *Stream, _ *Budget) { s.Close() }, errEnded},
		{"Reset", func(s *Stream, _ *Budget) { s.Reset() }, errEnded},
		{"ResetWithError", func(s *Stream, _ *Budget) { s.ResetWithError(1) }, errEnded},
		{"connection", func(s *Stream, b *Budget) { s.Stream.Reset(); b.close() }, errEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := full(t)
				s := NewStream(&fake{}, b, Low)
				done := make(chan error)
				began := time.Now()
				go func() {
					_, err := s.Write(make([]byte, 1<<10))
					done <- err
				}()
				time.Sleep(time.Second / 2)
				tt.end(s, b)
				if err := <-done; !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("after %s", took)
				}
				if b.blockedLocked() {
					t.Error("somebody still waits")
				}
				b.close()
			})
		})
	}
}

// TestPatientStream: a patient write lasts as long as it moves, whatever its
// deadline, and ends when nothing has moved for a while.
func TestPatientStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := &fake{takes: 8 * time.Second} // 4 KiB in 8 s
		l := newLine(1e3, 20*time.Millisecond)
		s := NewStream(raw, l.b, Normal).Patient(30 * time.Second)
		if err := s.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Write(make([]byte, 100<<10)); n != 100<<10 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		raw.takes = time.Hour
		began := time.Now()
		if _, err := s.Write(make([]byte, 4<<10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 60*time.Second {
			t.Errorf("gave up after %s", took)
		}
		l.b.close()
	})
}
