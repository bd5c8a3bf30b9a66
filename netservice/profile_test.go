package netservice_test

import (
	"bytes"
	"context"
	"regexp"
	"runtime/pprof"
	"testing"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// A profile of a whole node says which engine, type, subscriber and peer a
// goroutine works for.
func TestGoroutinesAreLabelled(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		profile := make(chan string, 1)
		if _, err := text.Subscribe(a.Service(), func(context.Context, netservice.Received[[]byte]) {
			var out bytes.Buffer
			if err := pprof.Lookup("goroutine").WriteTo(&out, 1); err != nil {
				t.Error(err)
			}
			profile <- out.String()
		}); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		b.WaitForPeers(1)
		if err := text.Send(t.Context(), b.Service(), a.Service().Node().ID(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		got := next(t, "profile", profile)
		for _, want := range []string{
			`"engine":"dispatcher"`, `"type":"text"`, `"subscriber":`,
			`"engine":"session", .*"type":"text"`,
			`"engine":"session", .*"peer":"` + b.Service().Node().ID().String(),
		} {
			if !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("no goroutine has the labels %s", want)
			}
		}
	})
}
