package netservice_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// A program may change what it gave as soon as the call returns, also where what a
// codec makes is queued as it is.
func TestPayloadsMayChangeOnceSent(t *testing.T) {
	const size = 1 << 20
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		made := netservice.Declare("made", netservice.JSON[string](), netservice.WithCompression(netservice.CompressNone), netservice.WithoutBroadcast())
		given := netservice.Declare("given", netservice.Raw(), netservice.WithCompression(netservice.CompressNone), netservice.WithoutBroadcast())
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		got := make(chan string, 9)
		if _, err := made.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[string]) { got <- m.Value }); err != nil {
			t.Fatal(err)
		}
		if _, err := given.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) { got <- string(m.Value) }); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		want := strings.Repeat("x", size)
		for _, send := range []func() error{
			func() error { return made.Send(t.Context(), a.Service(), b.ID(), want) },
			func() error {
				data := []byte(want)
				defer clear(data)
				return given.Send(t.Context(), a.Service(), b.ID(), data)
			},
			func() error {
				data := []byte(want)
				defer clear(data)
				_, err := given.SendTo(t.Context(), a.Service(), nil, data)
				return err
			},
			func() error {
				_, err := made.SendTo(t.Context(), a.Service(), nil, want)
				return err
			},
		} {
			if err := send(); err != nil {
				t.Fatal(err)
			}
			if next(t, "message", got) != want {
				t.Error("another message came")
			}
			time.Sleep(time.Second)
		}
	})
}
