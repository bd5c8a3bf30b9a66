package netservice_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// TestLargeVerdicts: without headers, a large message is judged before it is passed on,
// and what becomes of it is counted, as of a small one.
func TestLargeVerdicts(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		typ := lossless("judged")
		line, in := largeLine(t, nw, typ, 3, nil)
		for _, n := range line {
			if err := n.Service().SetHeaders(typ.Name(), netservice.Headers{}); err != nil {
				t.Fatal(err)
			}
		}
		judge := line[1].Service()
		counts := func() netservice.GossipTypeStats { return judge.Stats().Gossip.Types["judged"] }
		if err := judge.SetValidator("judged", func(_ context.Context, m dispatcher.Message) netservice.Verdict {
			switch m.Data()[0] {
			case 1:
				return netservice.Ignore()
			case 2:
				return netservice.Reject()
			case 3:
				if counts().Deferred == 0 {
					return netservice.Defer("parent")
				}
			}
			return netservice.Accept()
		}); err != nil {
			t.Fatal(err)
		}
		for number := range byte(4) {
			if err := typ.Broadcast(t.Context(), line[0].Service(), block(number, largeSize)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		for i := 1; i < 3; i++ {
			if m := next(t, "accepted message", in[i]); m.Value[0] != 0 {
				t.Errorf("node %d got message %d", i, m.Value[0])
			}
			none(t, "message that was not accepted", in[i], 5*time.Second)
		}
		if c := counts(); c.Delivered != 1 || c.Ignored != 1 || c.Rejected != 1 || c.Deferred != 1 {
			t.Errorf("delivered %d, ignored %d, rejected %d, deferred %d", c.Delivered, c.Ignored, c.Rejected, c.Deferred)
		}
		if c := line[2].Service().Stats().Large.Types["judged"]; c.Announced != 1 {
			t.Errorf("the next node was told of %d messages", c.Announced)
		}
		if n := judge.Resume("parent"); n != 1 {
			t.Errorf("%d were deferred", n)
		}
		for i := 1; i < 3; i++ {
			if m := next(t, "message that was deferred", in[i]); m.Value[0] != 3 {
				t.Errorf("node %d got message %d", i, m.Value[0])
			}
			if got := bySwarm(line[i], "judged"); got != int64(6-2*i) {
				t.Errorf("node %d has fetched %d messages in chunks", i, got)
			}
		}
	})
}

// TestLargeHeaderVerdicts: of a message whose header is not accepted, or not yet, no
// chunk is asked for, and nobody else hears of it.
func TestLargeHeaderVerdicts(t *testing.T) {
	for _, tc := range []struct {
		name    string
		verdict netservice.Verdict
		comes   bool // after Resume
	}{
		{"ignore", netservice.Ignore(), false},
		{"reject", netservice.Reject(), false},
		{"defer", netservice.Defer("author"), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				typ := lossless("headed")
				line, in := largeLine(t, nw, typ, 3, nil)
				known := make(chan struct{})
				if err := line[1].Service().SetHeaders(typ.Name(), netservice.Headers{
					Check: func(context.Context, netservice.LargeHeader) netservice.Verdict {
						select {
						case <-known:
							return netservice.Accept()
						default:
							return tc.verdict
						}
					},
				}); err != nil {
					t.Fatal(err)
				}
				if err := typ.Broadcast(t.Context(), line[0].Service(), block(1, largeSize)); err != nil {
					t.Fatal(err)
				}
				none(t, "message whose header was not accepted", in[1], 5*time.Second)
				if c := line[2].Service().Stats().Large.Types["headed"]; c.Announced != 0 || c.BytesIn != 0 {
					t.Errorf("the next node was told: %+v", c)
				}
				close(known)
				line[1].Service().Resume("author")
				if !tc.comes {
					none(t, "message that was refused", in[1], 5*time.Second)
					if c := line[1].Service().Stats().Large.Types["headed"]; c.Refused != 1 || c.Fetched != 0 {
						t.Errorf("refused %d, fetched %d", c.Refused, c.Fetched)
					}
					return
				}
				next(t, "message", in[1])
				next(t, "message", in[2])
			})
		})
	}
}

// TestLargeFullSubscriber: a lossless subscriber that is full has large messages come
// again when there is room, each once.
func TestLargeFullSubscriber(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		const messages = 12
		typ := netservice.Declare("full", netservice.Raw(), netservice.MaxSize(4<<20),
			netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(1)))
		line, in := largeLine(t, nw, typ, 2, nil)
		for i := range messages {
			if err := typ.Broadcast(t.Context(), line[0].Service(), block(byte(i), 300<<10)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Second) // it takes none meanwhile
		got := map[byte]int{}
		for range messages {
			got[next(t, "message", in[1]).Value[0]]++
		}
		none(t, "thirteenth message", in[1], 10*time.Second)
		if len(got) != messages {
			t.Errorf("got %v", got)
		}
	})
}

// TestLargeOwnMemory: where own messages that nobody has had the time to fetch fill the
// memory, one more is ErrQueueFull, and may be broadcast when they are served.
func TestLargeOwnMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		typ := netservice.Declare("own", netservice.Raw(), netservice.MaxSize(8<<20-4<<10))
		line, in := largeLine(t, nw, typ, 2, nil)
		nw.SetBandwidth(line[0], nettest.Bandwidth{Up: 50e6})
		var err error
		sent := 0
		for ; sent < 9 && err == nil; sent++ {
			err = typ.Broadcast(t.Context(), line[0].Service(), block(byte(sent), 8<<20-4<<10))
		}
		if !errors.Is(err, netservice.ErrQueueFull) || sent != 9 {
			t.Errorf("broadcast %d: %v", sent, err)
		}
		st := line[0].Service().Stats()
		if c := st.Large.Types["own"]; c.TurnedAway != 1 || c.Published != 8 || st.Gossip.Types["own"].Published != 8 {
			t.Errorf("turned away %d, published %d, %d", c.TurnedAway, c.Published, st.Gossip.Types["own"].Published)
		}
		time.Sleep(30 * time.Second)
		if err := typ.Broadcast(t.Context(), line[0].Service(), block(8, 8<<20-4<<10)); err != nil {
			t.Errorf("the same one later: %v", err)
		}
		for range 9 {
			next(t, "message", in[1])
		}
	})
}
