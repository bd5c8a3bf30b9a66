package netservice_test

import (
	"context"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// text is the message type of these tests.
var text = netservice.Declare("text", netservice.Raw())

func chain() netservice.Config { return netservice.Config{ChainID: "test", Genesis: "01"} }

func booted(by *nettest.Node) netservice.Config {
	c := chain()
	c.Bootstrap = []string{by.Addr()}
	return c
}

func quiet() netservice.Option {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return netservice.WithLogger(log)
}

// bubble is synctest.Test. Under the race detector it runs on one processor:
// timers of a bubble that fire on two at once corrupt the detector's state and
// crash the test (golang/go#78156).
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if testkit.Race {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, f)
}

// crowd skips a test of so many nodes or types that it takes minutes under the race
// detector, which slows bubbles down more than tenfold. It runs without.
func crowd(t *testing.T) {
	t.Helper()
	if testkit.Race {
		t.Skip("takes minutes under the race detector: run it without -race")
	}
}

// inBubble runs a test over a simulated network in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, net *nettest.Network)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		f(t, nettest.New(t))
	})
}

// inbox collects the payloads of one type that a service gets.
func inbox(t *testing.T, s *netservice.NebService, size int) <-chan netservice.Received[[]byte] {
	t.Helper()
	ch := make(chan netservice.Received[[]byte], size)
	if _, err := text.Subscribe(s, func(_ context.Context, m netservice.Received[[]byte]) { ch <- m }); err != nil {
		t.Fatal(err)
	}
	return ch
}

// next waits for a value, at most a minute.
func next[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatalf("no %s: closed", what)
		}
		return v
	case <-time.After(time.Minute):
		t.Fatalf("no %s within a minute", what)
	}
	panic("unreachable")
}

// none fails when a value comes within d.
func none[T any](t *testing.T, what string, ch <-chan T, d time.Duration) {
	t.Helper()
	select {
	case v := <-ch:
		t.Fatalf("unexpected %s: %v", what, v)
	case <-time.After(d):
	}
}

// event waits for an event of that kind about any peer.
func event(t *testing.T, sub *netservice.PeerSubscription, kind netservice.PeerEventKind) netservice.PeerEvent {
	t.Helper()
	for {
		if e := next(t, kind.String()+" event", sub.Events()); e.Kind == kind {
			return e
		}
	}
}
