package obs

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/sirupsen/logrus"
)

func TestBridge(t *testing.T) {
	o, s := logged()
	detach := o.BridgeLibp2p()
	defer detach()
	log := gologshim.Logger("obs-test")

	log.Debug("debug")
	log.Info("info")
	if got := s.lines(t); len(got) != 0 {
		t.Errorf("below warnings: %v", got)
	}

	log.Warn("bad\nthing\x1b", "peer", "a\u202eb", "err", errors.New(strings.Repeat("x", 1000)), slog.Attr{})
	log.WithGroup("g").With("k", 1).WithGroup("h").Error("failed", "v", true)
	want := []map[string]any{
		{"level": "warning", "component": "libp2p", "logger": "obs-test", "msg": "bad?thing?", "peer": "a?b", "err": strings.Repeat("x", MaxRemoteText)},
		{"level": "error", "component": "libp2p", "logger": "obs-test", "msg": "failed", "g.k": "1", "g.h.v": "true"},
	}
	if diff := cmp.Diff(want, s.lines(t)); diff != "" {
		t.Error(diff)
	}

	for range 100 {
		log.Error("failed")
	}
	if got := s.lines(t); len(got) != 0 {
		t.Errorf("a line that peers can repeat is written again: %v", got)
	}
}

// What closing a connection ourselves interrupts is no warning.
func TestBridgeOwnCloses(t *testing.T) {
	o, s := logged()
	defer o.BridgeLibp2p()()
	log := gologshim.Logger("obs-test-closes")
	log.Warn("interrupted here", "err", fmt.Errorf("read: %w", &network.ConnError{}))
	if got := s.lines(t); len(got) != 0 {
		t.Errorf("own close: %v", got)
	}
	log.Warn("interrupted there", "err", fmt.Errorf("read: %w", &network.ConnError{Remote: true}))
	if got := s.lines(t); len(got) != 1 {
		t.Errorf("close of the peer: %v", got)
	}
}

// The service that attached last gets the lines; a service that went away gets
// none; with no service they are libp2p's own again.
func TestBridgeFollowsTheLivingService(t *testing.T) {
	log := gologshim.Logger("obs-test-order")
	first, s1 := logged()
	second, s2 := logged()
	got := func() (int, int) { return len(s1.lines(t)), len(s2.lines(t)) }
	expect := func(when string, w1, w2 int) {
		t.Helper()
		log.Warn(when)
		if g1, g2 := got(); g1 != w1 || g2 != w2 {
			t.Errorf("%s: %d and %d lines, want %d and %d", when, g1, g2, w1, w2)
		}
	}
	d1 := first.BridgeLibp2p()
	expect("first alone", 1, 0)
	d2 := second.BridgeLibp2p()
	expect("both", 0, 1)
	d2()
	d2() // no harm
	expect("second gone", 1, 0)
	d2 = second.BridgeLibp2p()
	d1()
	expect("first gone", 0, 1)
	d2()
	expect("none", 0, 0)
	if !log.Enabled(t.Context(), slog.LevelError) {
		t.Error("libp2p's own handler does not get it")
	}
}

func TestBridgeObeysTheLoggersLevel(t *testing.T) {
	o, s := logged()
	defer o.BridgeLibp2p()()
	o.Logger().SetLevel(logrus.ErrorLevel)
	log := gologshim.Logger("obs-test-level")
	log.Warn("warn")
	log.Error("error")
	if got := s.lines(t); len(got) != 1 || got[0]["msg"] != "error" {
		t.Errorf("lines %v", got)
	}
}

// A record need not carry a time, and With must not write to a shared slice.
func TestHandlerDetails(t *testing.T) {
	o, s := logged()
	defer o.BridgeLibp2p()()
	base := bridgeHandler{own: slog.DiscardHandler}.WithAttrs([]slog.Attr{slog.Int("a", 1)})
	one := base.WithAttrs([]slog.Attr{slog.Int("b", 1)})
	two := base.WithAttrs([]slog.Attr{slog.Int("c", 2)})
	if bridgeHandler.WithGroup(bridgeHandler{}, "").(bridgeHandler).group != "" {
		t.Error("the empty group has a name")
	}
	for h, want := range map[string]slog.Handler{"one": one, "two": two} {
		if err := want.Handle(t.Context(), slog.NewRecord(time.Time{}, slog.LevelWarn, h, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range s.lines(t) {
		_, b := l["b"]
		_, c := l["c"]
		if l["a"] != "1" || b != (l["msg"] == "one") || c != (l["msg"] == "two") {
			t.Errorf("line %v", l)
		}
	}
	for l, want := range map[slog.Level]logrus.Level{
		slog.LevelDebug: logrus.DebugLevel, slog.LevelInfo: logrus.InfoLevel, slog.LevelWarn: logrus.WarnLevel,
		slog.LevelError: logrus.ErrorLevel, slog.LevelError + 4: logrus.ErrorLevel, slog.LevelInfo + 1: logrus.InfoLevel,
	} {
		if got := level(l); got != want {
			t.Errorf("level %v: %v, want %v", l, got, want)
		}
	}
}
