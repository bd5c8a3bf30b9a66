package listener

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/go-nebnet/nebnet/stream"
)

// dialling opens a stream in the listener's group that ends when it is told to,
// and then only when the test lets it.
func dialling(t *testing.T, l *Listener) (ended <-chan struct{}, let chan<- struct{}) {
	t.Helper()
	s, ctx, err := l.cfg.Group.Open(context.Background(), "peer", stream.Outbound)
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	go func() {
		<-ctx.Done()
		<-release
		s.Fail(context.Cause(ctx))
	}()
	return s.Info().Done(), release
}

func has(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// Serve on a listener that is closed accepts nothing and starts nothing.
func TestServeAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(nil, nil)
		l := add(t, NewRegistry(nil, nil), Config{Stop: s.Close})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l.Serve(s, func(c net.Conn) { t.Error("accepted a connection"); _ = c.Close() })
		synctest.Wait()
		if len(s.at) != 0 {
			t.Errorf("Accept was called %d times", len(s.at))
		}
		if err := l.Close(); err != nil { // waits for nobody
			t.Error(err)
		}
	})
}

// Close leaves streams alone; CloseStreams returns when they have ended, and not
// earlier.
func TestCloseStreamsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(nil, nil)
		l := add(t, r, Config{})
		ended, let := dialling(t, l)
		_ = l.Close()
		if synctest.Wait(); has(ended) {
			t.Fatal("Close ended the stream")
		}
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			if got := l.CloseStreams(); len(got) != 1 || !errors.Is(got[0].Err(), net.ErrClosed) {
				t.Errorf("reset %+v", got)
			}
		}()
		if synctest.Wait(); has(returned) {
			t.Error("CloseStreams did not wait")
		}
		close(let)
		<-returned
		if !has(ended) {
			t.Error("CloseStreams returned before the stream had ended")
		}
		r.Shutdown()
	})
}

// The context of a listener that has failed ends the streams that run on, and
// Shutdown waits for that.
func TestContextEndsStreamsOfAFailedListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s := newScript(errors.New("the socket is broken"))
		r := NewRegistry(nil, nil)
		l := add(t, r, Config{Stop: s.Close, Context: ctx})
		ended, let := dialling(t, l)
		l.Serve(s, func(net.Conn) {})
		<-l.Info().Done()
		if synctest.Wait(); has(ended) || l.Info().State != Failed {
			t.Fatalf("state %v, stream ended: %t", l.Info().State, has(ended))
		}
		cancel()
		shut := make(chan struct{})
		synctest.Wait()
		go func() { defer close(shut); r.Shutdown() }()
		if synctest.Wait(); has(shut) {
			t.Error("Shutdown did not wait for the reset")
		}
		close(let)
		<-shut
		if !has(ended) {
			t.Error("the stream still runs")
		}
	})
}
