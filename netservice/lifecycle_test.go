package netservice_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

func TestLifeCycle(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		s := nw.Add(chain(), quiet()).Service()
		ctx := t.Context()
		if err := s.Broadcast(ctx, "text", nil); !errors.Is(err, netservice.ErrNotStarted) {
			t.Errorf("broadcast before start: %v", err)
		}
		if s.Peers() != nil || len(s.Stats().Peers) != 0 || s.Node().Addrs() != nil {
			t.Error("a service that was not started has peers or addresses")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); !errors.Is(err, netservice.ErrAlreadyStarted) {
			t.Errorf("second start: %v", err)
		}
		if _, err := s.SendMessageToPeers(ctx, "text", nil, netservice.AllPeers()); !errors.Is(err, netservice.ErrNoPeers) {
			t.Errorf("send to nobody: %v", err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := s.Stop(); err != nil {
					t.Errorf("stop: %v", err)
				}
			})
		}
		wg.Wait()
		for what, err := range map[string]error{
			"start":     s.Start(),
			"broadcast": s.Broadcast(ctx, "text", nil),
			"send":      s.SendMessageToPeer(ctx, "text", nil, s.Node().ID().String()),
			"put":       s.PutMessage(dispatcher.NewMessage("text", "", nil)),
			"wait":      s.WaitForPeers(ctx, 1),
			"connect":   s.ConnectPeer(ctx, "/ip4/5.0.0.1/tcp/1"),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after stop: %v", what, err)
			}
		}
	})
}

func TestStopWithoutStart(t *testing.T) {
	s, err := netservice.NewNebService(chain(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Start(); !errors.Is(err, netservice.ErrStopped) {
		t.Errorf("start after stop: %v", err)
	}
}

// Whoever ranges over events or messages is let go, also by the stop of a
// service that never ran.
func TestStopWithoutStartEndsLoops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, err := netservice.NewNebService(chain(), quiet())
		if err != nil {
			t.Fatal(err)
		}
		peers := s.SubscribePeers()
		var wg sync.WaitGroup
		wg.Go(func() {
			for range peers.All() {
				t.Error("an event")
			}
		})
		wg.Go(func() {
			for range text.Messages(t.Context(), s) {
				t.Error("a message")
			}
		})
		synctest.Wait()
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// Stop while the service starts waits for that, and then stops it.
func TestStopDuringStart(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		for range 20 {
			s := nw.Add(chain(), quiet()).Service()
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := s.Start(); err != nil && !errors.Is(err, netservice.ErrStopped) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
			})
			for range 100 {
				s.Node().Host()
				s.Node().Addrs()
				s.P2P()
				s.Peers()
				s.Stats()
				s.Resume("")
			}
			wg.Wait()
			if err := s.Start(); !errors.Is(err, netservice.ErrStopped) {
				t.Errorf("start after stop: %v", err)
			}
		}
	})
}

// A handler that ignores its context makes Stop return by its deadline and
// name the handler.
func TestStopNamesStuckHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		cfg := chain()
		cfg.ShutdownTimeout = netservice.Duration(2 * time.Second)
		s := nw.Add(cfg, quiet()).Service()
		release, entered := make(chan struct{}), make(chan struct{})
		stuck := dispatcher.NewHandler("the-stuck-one", "text", func(context.Context, dispatcher.Message) {
			close(entered)
			<-release
		})
		if err := s.Register(stuck); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if err := s.PutMessage(dispatcher.NewMessage("text", "", nil)); err != nil {
			t.Fatal(err)
		}
		<-entered
		begin := time.Now()
		err := s.Stop()
		if _, ok := errors.AsType[*netservice.StopError](err); !ok || !strings.Contains(err.Error(), "the-stuck-one") {
			t.Errorf("stop: %v", err)
		}
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("stop took %s", d)
		}
		close(release)
	})
}

// Stop under load is bounded, and everything that was received is accounted for.
func TestStopUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		a := nw.Add(chain(), quiet())
		b := nw.Add(booted(a), quiet())
		if _, err := text.Subscribe(b.Service(), func(context.Context, netservice.Received[[]byte]) {},
			dispatcher.WithPolicy(dispatcher.Lossless)); err != nil {
			t.Fatal(err)
		}
		nw.Start()
		a.WaitForPeers(1)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					a.Service().SendMessageToPeer(ctx, "text", make([]byte, 1000), b.ID().String())
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(time.Second)
		begin := time.Now()
		b.Stop()
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("stop took %s", d)
		}
		cancel()
		wg.Wait()
		d := b.Service().Stats().Dispatcher.Total
		if d.Received < 1000 || d.Received != d.Delivered+d.Duplicate+d.Unrouted+d.DroppedTotal() {
			t.Errorf("does not add up: %+v", d)
		}
	})
}

func TestTwoServicesInOneProcess(t *testing.T) {
	for range 2 {
		s, err := netservice.NewNebService(netservice.Config{ChainID: "c", Listen: []string{"/ip4/127.0.0.1/tcp/0"}}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
		if len(s.Node().Addrs()) != 1 {
			t.Errorf("addresses: %v", s.Node().Addrs())
		}
	}
}

// A callback of a handshake that never returns costs its own time: it is named,
// and subscribers still get what had arrived.
func TestStopWithStuckPeerCheck(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		stuck := make(chan struct{})
		cfg := chain()
		cfg.ShutdownTimeout = netservice.Duration(4 * time.Second)
		a := nw.Add(cfg, quiet(), netservice.WithPeerCheck(func(context.Context, netservice.PeerHello) error {
			<-stuck
			return nil
		}))
		b := nw.Add(booted(a), quiet())
		var handled atomic.Int64
		slow := dispatcher.NewHandler("slow", "text", func(context.Context, dispatcher.Message) {
			time.Sleep(200 * time.Millisecond)
			handled.Add(1)
		})
		if err := a.Service().Register(slow); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(a.Service().Start(), b.Service().Start()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		for i := range 3 {
			if err := a.Service().PutMessage(dispatcher.NewMessage("text", "", []byte{byte(i)})); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		err := a.Service().Stop()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("Stop took %v", took)
		}
		stop, ok := errors.AsType[*netservice.StopError](err)
		if !ok || !strings.Contains(stop.Error(), "handshake") {
			t.Errorf("error %v", err)
		}
		if n := handled.Load(); n != 3 {
			t.Errorf("%d of 3 messages handled", n)
		}
		close(stuck)
		if err := b.Service().Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A stranger's tunnel stream that waits for a handshake does not hold up Stop.
func TestStopWithUndecidedTunnelStream(t *testing.T) {
	besiege(t, nil, func(t *testing.T, s *siege) {
		if _, err := s.victim.P2P().Listen(t.Context(), "/x/echo"); err != nil {
			t.Fatal(err)
		}
		a := s.attacker()
		if err := a.connect(); err != nil {
			t.Fatal(err)
		}
		a.flood(t.Context(), 3)
		time.Sleep(200 * time.Millisecond)
		began := time.Now()
		if err := s.victim.Stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("Stop took %v", took)
		}
		a.Close()
	})
}
