package netservice_test

import (
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// One message may come both ways, from a peer and by gossip. A subscriber that
// wants no duplicates gets it once.
func TestDuplicateFilterAcrossBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		ch := make(chan dispatcher.Message, 10)
		if err := b.Service().Register(dispatcher.NewSubscriber("once", ch, true, "text", 1)); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := text.Broadcast(t.Context(), a.Service(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if s := b.Service().Stats().Dispatcher.Types["text"]; s.Received != 2 || s.Delivered != 1 || s.Duplicate != 1 {
			t.Errorf("%+v", s)
		}
		if len(ch) != 1 {
			t.Errorf("%d messages", len(ch))
		}
	})
}
