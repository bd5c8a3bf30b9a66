package netservice_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

func TestSendBothWaysInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		const n = 500
		inA, inB := inbox(t, a.Service(), n), inbox(t, b.Service(), n)
		nw.Start()
		a.WaitForPeers(1)
		b.WaitForPeers(1)
		ctx := t.Context()
		for i := range n {
			data := bytes.Repeat([]byte{byte(i)}, i*7)
			if err := text.Send(ctx, a.Service(), b.ID(), data); err != nil {
				t.Fatal(err)
			}
			if err := text.Send(ctx, b.Service(), a.ID(), data); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			want := bytes.Repeat([]byte{byte(i)}, i*7)
			if m := next(t, "message", inB); !bytes.Equal(m.Value, want) || m.From != a.ID() || m.Message.MessageFrom() != a.ID().String() {
				t.Fatalf("message %d at b: %d bytes from %s", i, len(m.Value), m.From)
			}
			if m := next(t, "message", inA); !bytes.Equal(m.Value, want) || m.From != b.ID() {
				t.Fatalf("message %d at a: %d bytes from %s", i, len(m.Value), m.From)
			}
		}
		st := a.Service().Stats().Peers[b.ID().String()]
		if st.Send.Queued != n || st.Send.Written != n || st.Receive.Messages != n {
			t.Errorf("stats: %+v", st)
		}
	})
}

func TestSendErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		c := nw.Add(chain(), quiet())
		small := netservice.Declare("small", netservice.Raw(), netservice.MaxSize(10))
		nw.Start()
		a.WaitForPeers(1)
		ctx := t.Context()
		if err := small.Send(ctx, a.Service(), b.ID(), make([]byte, 11)); !errors.Is(err, netservice.ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		if err := small.Broadcast(ctx, a.Service(), make([]byte, 11)); !errors.Is(err, netservice.ErrTooLarge) {
			t.Errorf("too large to broadcast: %v", err)
		}
		if err := text.Send(ctx, a.Service(), c.ID(), nil); !errors.Is(err, netservice.ErrUnknownPeer) {
			t.Errorf("to a node that is no peer: %v", err)
		}
		if err := a.Service().SendMessageToPeer(ctx, "text", nil, "nonsense"); !errors.Is(err, netservice.ErrUnknownPeer) {
			t.Errorf("to nonsense: %v", err)
		}
		if err := a.Service().SendMessageToPeer(ctx, "a/b", nil, b.ID().String()); err == nil {
			t.Error("a bad type was sent")
		}
		if err := a.Service().Declare(netservice.MessageSpec{Name: "small", MaxSize: 11}); !errors.Is(err, netservice.ErrConflict) {
			t.Errorf("declared twice: %v", err)
		}
		if _, err := netservice.Declare("", netservice.Raw()).Subscribe(a.Service(), nil); err == nil {
			t.Error("a type without a name was subscribed")
		}
	})
}

// A type that nobody subscribes to at the peer is refused there, not sent and
// thrown away.
func TestUnsupportedType(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		nw.Start()
		a.WaitForPeers(1)
		b.WaitForPeers(1)
		time.Sleep(time.Second) // identify
		ctx := t.Context()
		if err := text.Send(ctx, a.Service(), b.ID(), []byte("x")); !errors.Is(err, netservice.ErrUnsupported) {
			t.Errorf("before there is a subscriber: %v", err)
		}
		if _, err := text.SendTo(ctx, a.Service(), netservice.AllPeers(), []byte("x")); !errors.Is(err, netservice.ErrUnsupported) {
			t.Errorf("to all before there is a subscriber: %v", err)
		}
		in := inbox(t, b.Service(), 1)
		time.Sleep(10 * time.Second) // identify push
		if err := text.Send(ctx, a.Service(), b.ID(), []byte("y")); err != nil {
			t.Errorf("with a subscriber: %v", err)
		}
		if m := next(t, "message", in); string(m.Value) != "y" {
			t.Errorf("got %q", m.Value)
		}
	})
}

func TestSendToPeersWithFilter(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		hub := nw.Add(chain(), quiet())
		var ins []<-chan netservice.Received[[]byte]
		for range 9 {
			n := nw.Add(booted(hub), quiet())
			ins = append(ins, inbox(t, n.Service(), 10))
		}
		nw.Start()
		hub.WaitForPeers(9)
		sent, err := text.SendTo(t.Context(), hub.Service(), netservice.SquareRootPeers(), []byte("x"))
		if err != nil || len(sent) != 3 {
			t.Fatalf("sent to %v: %v", sent, err)
		}
		time.Sleep(time.Second)
		got := 0
		for _, in := range ins {
			got += len(in)
		}
		if got != 3 {
			t.Errorf("%d nodes got the message", got)
		}
		if _, err := text.SendTo(t.Context(), hub.Service(), netservice.RandomPeers(0), nil); !errors.Is(err, netservice.ErrNoPeers) {
			t.Errorf("to none: %v", err)
		}
	})
}

// A lossless subscriber that does not keep up is felt by the sender of that
// type, loses nothing, and holds up no other type.
func TestLosslessPushesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.DispatchQueue = 8
		cfg.PeerQueueBytes = 256 << 10
		a := nw.Add(cfg, quiet())
		cfg.Bootstrap = []string{a.Addr()}
		b := nw.Add(cfg, quiet())
		bulk := netservice.Declare("bulk", netservice.Raw(), netservice.WithCompression(netservice.CompressNone),
			netservice.WithSubscription(dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(4)))
		open := make(chan struct{})
		var got []byte
		if _, err := bulk.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) {
			<-open
			got = append(got, m.Value[0])
		}); err != nil {
			t.Fatal(err)
		}
		in := inbox(t, b.Service(), 1)
		nw.Start()
		a.WaitForPeers(1)

		const n = 200
		sent := make(chan error, 1)
		go func() {
			for i := range n {
				if err := bulk.Send(t.Context(), a.Service(), b.ID(), append([]byte{byte(i)}, make([]byte, 64<<10)...)); err != nil {
					sent <- fmt.Errorf("message %d: %w", i, err)
					return
				}
			}
			sent <- nil
		}()
		none(t, "end of sending into a closed door", sent, 20*time.Second)
		if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("quick")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		next(t, "message of another type", in)
		if d := time.Since(begin); d > 100*time.Millisecond {
			t.Errorf("another type took %s", d)
		}
		close(open)
		if err := next(t, "end of sending", sent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(got) != n {
			t.Fatalf("%d of %d arrived", len(got), n)
		}
		for i, v := range got {
			if v != byte(i) {
				t.Fatalf("message %d is %d", i, v)
			}
		}
	})
}

// A subscriber that never drains costs counted drops, and the network nothing.
func TestFullSubscriberDropsAndCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		ch := make(chan dispatcher.Message, 3)
		if err := b.Service().Register(dispatcher.NewSubscriber("full", ch, false, "text", 1)); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		for i := range 10 {
			if err := text.Send(t.Context(), a.Service(), b.ID(), []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		d := b.Service().Stats().Dispatcher.Types["text"]
		if d.Received != 10 || d.Delivered != 3 || d.DroppedTotal() != 7 {
			t.Errorf("stats: %+v", d)
		}
		if len(b.Service().Peers()) != 1 {
			t.Error("the peer was lost")
		}
	})
}

// A handler that panics is counted; the peer stays, and so does the process.
func TestPanickingHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		in := make(chan string, 2)
		if _, err := text.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[[]byte]) {
			if string(m.Value) == "bad" {
				panic("bad")
			}
			in <- string(m.Value)
		}); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		for _, s := range []string{"bad", "good"} {
			if err := text.Send(t.Context(), a.Service(), b.ID(), []byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		if got := next(t, "message", in); got != "good" {
			t.Errorf("got %q", got)
		}
		if n := b.Service().Stats().Dispatcher.Panics; n != 1 {
			t.Errorf("%d panics are counted", n)
		}
		if len(b.Service().Peers()) != 1 {
			t.Error("the peer was lost")
		}
	})
}

// What a codec refuses is counted, and costs the sender its place in the end.
func TestUndecodableIsPenalised(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		number := netservice.Declare("number", netservice.JSON[int]())
		got := make(chan int, 1)
		if _, err := number.Subscribe(b.Service(), func(_ context.Context, m netservice.Received[int]) { got <- m.Value }); err != nil {
			t.Fatal(err)
		}
		banned := b.Service().SubscribePeers(netservice.PeerBanned)
		defer banned.Close()
		nw.Start()
		a.WaitForPeers(1)
		for i := range 11 {
			if err := a.Service().SendMessageToPeer(t.Context(), "number", []byte("x"), b.ID().String()); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		if e := event(t, banned, netservice.PeerBanned); e.Peer != a.ID() {
			t.Errorf("banned %s", e.Peer)
		}
		none(t, "value", got, time.Second)
	})
}

func TestSubscriptionClosesTwice(t *testing.T) {
	s, err := netservice.NewNebService(chain(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	sub, err := text.Subscribe(s, func(context.Context, netservice.Received[[]byte]) {})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if i == 2 {
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		if err := sub.Close(); err != nil {
			t.Errorf("close %d: %v", i, err)
		}
	}
}

func TestMessagesIterator(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		nw.Start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			synctest.Wait()
			for i := range 3 {
				text.Put(a.Service(), []byte{byte(i)})
			}
		}()
		var got []byte
		for m := range text.Messages(ctx, a.Service()) {
			if m.From != "" {
				t.Errorf("a local message is from %s", m.From)
			}
			if got = append(got, m.Value[0]); len(got) == 3 {
				break
			}
		}
		if !bytes.Equal(got, []byte{0, 1, 2}) {
			t.Errorf("got %v", got)
		}
	})
}
