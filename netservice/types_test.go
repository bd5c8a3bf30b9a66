package netservice_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// A session that has just ended is nobody to send to; the service itself is
// still open.
func TestSendToPeerThatLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		inbox(t, b.Service(), 1000)
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := a.Service().ClosePeer(b.ID().String(), netservice.ReasonRequested); err != nil {
				t.Error(err)
			}
		})
		for range 1000 {
			err := text.Send(t.Context(), a.Service(), b.ID(), nil)
			if err != nil && (!errors.Is(err, netservice.ErrUnknownPeer) || errors.Is(err, net.ErrClosed)) {
				t.Fatalf("send: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
	})
}

// A validator that is set while messages are under way on a stream leaves the
// stream alone.
func TestSetValidatorKeepsStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		in := inbox(t, b.Service(), 1000)
		nw.Start()
		a.WaitForPeers(1)
		for i := range 50 {
			if err := text.Send(t.Context(), a.Service(), b.ID(), []byte{byte(i)}); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			time.Sleep(time.Millisecond)
			if i == 25 {
				if err := b.Service().SetValidator("text", func(context.Context, dispatcher.Message) netservice.Verdict { return netservice.Accept() }); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 50 {
			if got := next(t, "message", in); got.Value[0] != byte(i) {
				t.Fatalf("message %d is %d", i, got.Value[0])
			}
		}
		if n := b.Service().Stats().Peers[a.ID().String()].Receive.Streams; n != 1 {
			t.Errorf("%d streams", n)
		}
	})
}

// A validator comes, changes and goes, and the type is declared, in the middle of
// broadcasts: the node stays in the mesh, and nothing is lost.
func TestTypeChangesUnderBroadcasts(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		const all = 500
		got := make(map[string]int)
		var mu sync.Mutex
		receive := func(_ context.Context, m dispatcher.Message) {
			mu.Lock()
			defer mu.Unlock()
			got[string(m.Data())]++
		}
		if err := b.Service().Register(dispatcher.NewHandler("test", "news", receive)); err != nil {
			t.Fatal(err)
		}
		if err := a.Service().Register(dispatcher.NewHandler("test", "news", func(context.Context, dispatcher.Message) {})); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(3 * time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range all {
				if err := a.Service().Broadcast(t.Context(), "news", fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Millisecond)
			}
		}()
		for i := range 10 {
			var v netservice.Validator
			if i%2 == 0 {
				v = func(context.Context, dispatcher.Message) netservice.Verdict { return netservice.Accept() }
			}
			for _, n := range []*nettest.Node{a, b} {
				if err := n.Service().SetValidator("news", v); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Millisecond)
			if i == 5 {
				err := b.Service().Declare(netservice.MessageSpec{Name: "news", Gossip: netservice.GossipSpec{Concurrency: 7}})
				if err != nil {
					t.Fatal(err)
				}
			}
			if m := b.Service().Stats().Gossip.Types["news"].Mesh; m != 1 {
				t.Errorf("mesh of %d after change %d", m, i)
			}
		}
		<-done
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		for i := range all {
			if n := got[fmt.Sprint(i)]; n != 1 {
				t.Fatalf("message %d came %d times: %+v", i, n, b.Service().Stats().Gossip.Types["news"])
			}
		}
	})
}

// Subscribers that the service does not know of do not count for it.
func TestDeregisterForeignSubscriber(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		in := inbox(t, b.Service(), 1)
		local := dispatcher.NewHandler("local", "text", func(context.Context, dispatcher.Message) {})
		if err := b.Service().Dispatcher().Register(local); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		if err := b.Service().Deregister(local); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := text.Send(t.Context(), a.Service(), b.ID(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		next(t, "message", in)
	})
}

// What the dispatcher says of its life cycle has the names of this package.
func TestErrorsOfLocalMessages(t *testing.T) {
	s, err := netservice.NewNebService(chain(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutMessage(dispatcher.NewMessage("text", "", nil)); !errors.Is(err, netservice.ErrNotStarted) {
		t.Errorf("put before start: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.PutMessage(dispatcher.NewMessage("text", "", nil)); !errors.Is(err, netservice.ErrStopped) {
		t.Errorf("put after stop: %v", err)
	}
	if _, err := text.Subscribe(s, func(context.Context, netservice.Received[[]byte]) {}); !errors.Is(err, netservice.ErrStopped) {
		t.Errorf("subscribe after stop: %v", err)
	}
}

// A sender that has given up already sends nothing.
func TestSendToPeersWithEndedContext(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		inbox(t, b.Service(), 1)
		nw.Start()
		a.WaitForPeers(1)
		time.Sleep(time.Second)
		if sent, err := text.SendTo(t.Context(), a.Service(), nil, nil); err != nil || len(sent) != 1 {
			t.Errorf("without a filter: sent to %v: %v", sent, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if sent, err := text.SendTo(ctx, a.Service(), netservice.AllPeers(), nil); !errors.Is(err, context.Canceled) || sent != nil {
			t.Errorf("sent to %v: %v", sent, err)
		}
	})
}
