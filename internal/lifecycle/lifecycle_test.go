package lifecycle

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEnded(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // a select takes one of two at random
		if !Ended(over, closed) {
			t.Fatal("what has ended is said to run, as its time is over too")
		}
	}
	if Ended(over, make(chan struct{})) {
		t.Error("what runs is said to have ended")
	}
	if !IsClosed(closed) || IsClosed(make(chan struct{})) {
		t.Error("IsClosed is wrong")
	}
}

func TestGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		done := Go(func() { <-release })
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if Ended(short, done) {
			t.Error("it has not returned")
		}
		close(release)
		if !Ended(t.Context(), done) {
			t.Error("it has returned")
		}
	})
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !Sleep(t.Context(), time.Second) || time.Since(began) != time.Second {
			t.Error("after", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if !Sleep(ctx, 0) {
			t.Error("not at once")
		}
		began = time.Now()
		if Sleep(ctx, time.Minute) || time.Since(began) != time.Second {
			t.Error("with the context, after", time.Since(began))
		}
		if Sleep(ctx, 0) {
			t.Error("as if the context went on")
		}
	})
}

func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		all, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		early, cancelEarly := Share(all, 4)
		defer cancelEarly()
		<-early.Done()
		if d := time.Since(begin); d != 6*time.Second {
			t.Errorf("ended after %s, want three quarters of 8 s", d)
		}
		half, cancelHalf := Share(all, 2)
		defer cancelHalf()
		<-half.Done()
		if d := time.Since(begin); d != 7*time.Second {
			t.Errorf("ended after %s, want half of the 2 s that were left", d)
		}
		forever, cancelForever := Share(t.Context(), 2)
		if _, ok := forever.Deadline(); ok {
			t.Error("a deadline out of nothing")
		}
		cancelForever()
		if forever.Err() == nil {
			t.Error("it does not end")
		}
	})
}

// Example closes something whose callback is stuck.
func Example() {
	stuck := make(chan struct{})
	done := Go(func() { <-stuck })
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	println(Ended(ctx, done)) // false
	close(stuck)
	<-done
}
