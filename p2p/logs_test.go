package p2p

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// warnings are the lines of that level, which are forgotten.
func warnings(hook *logtest.Hook) (out []*logrus.Entry) {
	for _, e := range hook.AllEntries() {
		if e.Level == logrus.WarnLevel {
			out = append(out, e)
		}
	}
	hook.Reset()
	return out
}

// What a peer can cause is warned of once in ten seconds, with what was held
// back.
func TestVirtualRefusalsAreLogged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		serving, dialling := logtest.NewLocal(w.serve.obs.Logger()), logtest.NewLocal(w.dial.obs.Logger())
		at := w.tunnel(w.service(echoConn), WithAdmit("somebody else"))
		refused := func() {
			if err := echoOnce(w.connect(at), "x"); err == nil {
				t.Error("let in")
			}
			synctest.Wait()
		}
		for range 3 {
			refused()
		}
		lines := warnings(serving)
		if len(lines) != 1 {
			t.Fatalf("%d lines at the serving side", len(lines))
		}
		want := logrus.Fields{
			"component": "tunnel", "peer": w.dial.self.String(), "protocol": web, "error": ErrNotAdmitted.Error(),
		}
		if e := lines[0]; e.Message != "tunnel stream refused" || fmt.Sprint(e.Data) != fmt.Sprint(want) {
			t.Errorf("logged %q %v", e.Message, e.Data)
		}
		warnings(dialling)
		time.Sleep(10 * time.Second)
		refused()
		if lines = warnings(serving); len(lines) != 1 || lines[0].Data["suppressed"] != 2 {
			t.Errorf("ten seconds later: %v", lines)
		}
	})
}

// A target that cannot be reached, and a peer that does not serve the protocol,
// are warned of.
func TestVirtualFailuresAreLogged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		hook := logtest.NewLocal(w.serve.obs.Logger())
		target := testkit.Addr(t, "/ip4/127.0.0.1/tcp/1")
		_ = echoOnce(w.connect(w.tunnel(target)), "x")
		synctest.Wait()
		lines := warnings(hook)
		if len(lines) != 1 || lines[0].Data["target"] != "127.0.0.1:1" || lines[0].Data["protocol"] != web {
			t.Errorf("logged %v", lines)
		}
	})
	inWorld(t, func(t *testing.T, w *world) {
		hook := logtest.NewLocal(w.dial.obs.Logger())
		at := w.tunnel(w.service(func(*testnet.Conn) {}))
		w.serve.Listeners.List()[0].CloseStreams()
		_ = echoOnce(w.connect(at), "x")
		synctest.Wait()
		lines := warnings(hook)
		if len(lines) != 1 || lines[0].Data["peer"] != w.serve.self.String() ||
			!strings.Contains(fmt.Sprint(lines[0].Data["error"]), ErrNotServed.Error()) {
			t.Errorf("logged %v", lines)
		}
	})
}

// An error may carry words of the peer, such as the reason phrase of a QUIC
// connection that it closed. None of them reaches the log as it came.
func TestLogsAreClean(t *testing.T) {
	p := newTunnels(t, newHost(t, transports[0]))
	p.obs.Logger().SetLevel(logrus.DebugLevel)
	hook := logtest.NewLocal(p.obs.Logger())
	words := "bye\x1b[2J\r\nlevel=info msg=\"all is well\" \u202e\xff" + strings.Repeat("a", 10_000)
	p.ended(errors.New(words), web, p.self)
	p.failed(dialSpec{peer: p.self, proto: web}, errors.New(words))
	p.ask(func() bool { panic(words) })
	lines := hook.AllEntries()
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, e := range lines {
		for k, v := range e.Data {
			if k == "stack" {
				continue // text of this program
			}
			if s := fmt.Sprint(v); len(s) > maxLogText || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s: field %s is %q", e.Message, k, s)
			}
		}
	}
	if got := fmt.Sprint(lines[0].Data["error"]); !strings.HasPrefix(got, "bye?[2J??level=info") {
		t.Errorf("the error reads %q", got)
	}
}

// Peers can call a rule as often as they like; each of its panics is counted,
// and few are logged.
func TestVirtualPanicsOfRulesAreLogged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		hook := logtest.NewLocal(w.serve.obs.Logger())
		for range 100 {
			if w.serve.ask(func() bool { panic("rule") }) {
				t.Fatal("a panic is a yes")
			}
		}
		if n := len(warnings(hook)); n != 1 {
			t.Errorf("%d lines", n)
		}
		if got := counts(w.serve)[obs.TunnelPanics]; got != 100 {
			t.Errorf("%d panics counted", got)
		}
	})
}
