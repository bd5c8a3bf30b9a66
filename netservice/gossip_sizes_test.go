package netservice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// Over a slow line, a small broadcast overtakes those above 1 MiB.
func TestLargeBroadcastsDoNotHoldUpSmallOnes(t *testing.T) {
	const size = 2 << 20
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		const line, seconds = 1 << 20, 8 // bytes a second
		nw.SetBandwidth(a, nettest.Bandwidth{Up: 8 * line})
		blocks := netservice.Declare("blocks", netservice.Raw(), netservice.MaxSize(4<<20))
		in := inbox(t, b.Service(), 1)
		got := make(chan int, 100)
		_, err := blocks.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) { got <- len(m.Value) })
		if err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		n := seconds * line / size
		begin := time.Now()
		for i := range n {
			if err := blocks.Broadcast(t.Context(), a.Service(), append([]byte{byte(i)}, make([]byte, size-1)...)); err != nil {
				t.Fatal(err)
			}
		}
		if err := text.Broadcast(t.Context(), a.Service(), []byte("small")); err != nil {
			t.Fatal(err)
		}
		next(t, "small message", in)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("the small message took %v", d)
		}
		for range n {
			if n := next(t, "block", got); n != size {
				t.Errorf("%d bytes", n)
			}
		}
		if d := time.Since(begin); d < seconds*time.Second {
			t.Errorf("all blocks took %v: the line is not slow", d)
		}
	})
}

// Messages are named by a function of the program, on its own risk: a panic in
// it harms nobody.
func TestMessageID(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		first := func(_ string, data []byte, _ peer.ID, _ []byte) string { return string(data[:1]) }
		a := nw.Add(chain(), quiet(), netservice.WithMessageID(first))
		b := nw.Add(booted(a), quiet(), netservice.WithMessageID(first))
		in := inbox(t, b.Service(), 9)
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		say := func(s string) error { return text.Broadcast(t.Context(), a.Service(), []byte(s)) }
		if err := say("apple"); err != nil {
			t.Fatal(err)
		}
		if err := say("apricot"); !errors.Is(err, netservice.ErrDuplicate) {
			t.Errorf("a message of the same name: %v", err)
		}
		if err := say(""); err != nil {
			t.Errorf("a message that cannot be named: %v", err)
		}
		if err := say("banana"); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for range 3 {
			got[string(next(t, "message", in).Value)]++
		}
		if got["apple"] != 1 || got[""] != 1 || got["banana"] != 1 {
			t.Errorf("%v", got)
		}
	})
}
