package netservice_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// stopper calls Stop from a callback, and keeps what the first call returned.
type stopper struct {
	svc  *netservice.NebService
	errs chan error
	took chan time.Duration
}

func (s *stopper) stop() {
	began := time.Now()
	err := s.svc.Stop()
	select {
	case s.errs <- err:
		s.took <- time.Since(began)
	default: // called again
	}
}

// Code that Stop waits for gets an error at once that names it, and the service goes
// on until Stop is called from elsewhere.
func TestStopInCallbacks(t *testing.T) {
	echo := netservice.DeclareMethod("echo", netservice.Raw(), netservice.Raw())
	validate := func(s *stopper) func(context.Context, dispatcher.Message) netservice.Verdict {
		return func(context.Context, dispatcher.Message) netservice.Verdict { s.stop(); return netservice.Accept() }
	}
	type provoke func(t *testing.T, a, b *nettest.Node, s *stopper)
	for name, tc := range map[string]struct {
		names string
		set   func(t *testing.T, s *stopper)
		act   provoke
	}{
		"handler": {"subscriber the-one/text", func(t *testing.T, s *stopper) {
			register(t, s.svc, dispatcher.NewHandler("the-one", "text", func(context.Context, dispatcher.Message) { s.stop() }))
		}, sendText},
		"worker": {"subscriber the-one/text", func(t *testing.T, s *stopper) {
			register(t, s.svc, dispatcher.NewHandler("the-one", "text", func(context.Context, dispatcher.Message) { s.stop() }, dispatcher.WithWorkers(3)))
		}, sendText},
		"subscriber": {"subscriber own/text", func(t *testing.T, s *stopper) { register(t, s.svc, ownSubscriber{s}) }, sendText},
		"typed": {"/text", func(t *testing.T, s *stopper) {
			if _, err := text.Subscribe(s.svc, func(context.Context, netservice.Received[[]byte]) { s.stop() }); err != nil {
				t.Fatal(err)
			}
		}, sendText},
		"request": {"requests echo", func(t *testing.T, s *stopper) {
			if _, err := echo.Serve(s.svc, func(_ context.Context, _ peer.ID, b []byte) ([]byte, error) { s.stop(); return b, nil }); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, a, b *nettest.Node, _ *stopper) {
			if _, err := echo.Call(t.Context(), a.Service(), b.ID(), nil); err != nil {
				t.Error(err)
			}
		}},
		"validator of a direct message": {"validator of type text", func(t *testing.T, s *stopper) {
			inbox(t, s.svc, 1)
			if err := s.svc.SetValidator("text", validate(s)); err != nil {
				t.Fatal(err)
			}
		}, sendText},
		"validator of a broadcast": {"validator of type text", func(t *testing.T, s *stopper) {
			inbox(t, s.svc, 1)
			if err := s.svc.SetValidator("text", validate(s)); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, a, _ *nettest.Node, _ *stopper) {
			if err := a.Service().Broadcast(t.Context(), "text", []byte("x")); err != nil {
				t.Error(err)
			}
		}},
		"check of a header": {"validator of type big", func(t *testing.T, s *stopper) {
			declareBig(t, s.svc)
			if err := s.svc.SetHeaders("big", netservice.Headers{Check: func(context.Context, netservice.LargeHeader) netservice.Verdict {
				s.stop()
				return netservice.Accept()
			}}); err != nil {
				t.Fatal(err)
			}
			register(t, s.svc, dispatcher.NewSubscription("b", "big"))
		}, func(t *testing.T, a, _ *nettest.Node, _ *stopper) {
			declareBig(t, a.Service())
			if err := a.Service().SetHeaders("big", netservice.Headers{Make: func(netservice.LargeHeader, []byte) ([]byte, error) { return []byte("h"), nil }}); err != nil {
				t.Fatal(err)
			}
			if err := a.Service().Broadcast(t.Context(), "big", make([]byte, 1<<20)); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a := nw.Add(chain(), quiet())
				b := nw.Add(booted(a), quiet())
				s := &stopper{b.Service(), make(chan error, 1), make(chan time.Duration, 1)}
				tc.set(t, s)
				nw.Start()
				a.WaitForPeers(1)
				b.WaitForPeers(1)
				tc.act(t, a, b, s)
				checkRefused(t, s, tc.names)
				if len(b.Service().Peers()) != 1 {
					t.Error("its peer is gone")
				}
				if err := b.Service().Stop(); err != nil {
					t.Errorf("from elsewhere: %v", err)
				}
			})
		})
	}
}

// The same in the check of a peer, which comes before there is a session.
func TestStopInPeerCheck(t *testing.T) {
	inBubble(t, func(t *testing.T, nw *nettest.Network) {
		s := &stopper{nil, make(chan error, 1), make(chan time.Duration, 1)}
		a := nw.Add(chain(), quiet(), netservice.WithPeerCheck(func(context.Context, netservice.PeerHello) error { s.stop(); return nil }))
		s.svc = a.Service()
		b := nw.Add(booted(a), quiet())
		nw.Start()
		b.WaitForPeers(1)
		checkRefused(t, s, "WithPeerCheck")
		if err := a.Service().Stop(); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
	})
}

// A handler may stop another service, and in a goroutine of its own this one; a
// handler of plain streams and a loop over events may as well.
func TestStopFromCodeThatMay(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, a, b *nettest.Node, s *stopper){
		"handler of another service": func(t *testing.T, _, b *nettest.Node, s *stopper) {
			register(t, b.Service(), dispatcher.NewHandler("x", "text", func(context.Context, dispatcher.Message) { s.stop() }))
		},
		"goroutine of a handler": func(t *testing.T, a, b *nettest.Node, s *stopper) {
			register(t, b.Service(), dispatcher.NewHandler("x", "text", func(ctx context.Context, _ dispatcher.Message) {
				if err := b.Service().SendMessageToPeer(ctx, "text", nil, a.ID().String()); err != nil {
					t.Error(err)
				}
			}))
			register(t, a.Service(), dispatcher.NewHandler("x", "text", func(context.Context, dispatcher.Message) { go s.stop() }))
		},
		"plain stream": func(_ *testing.T, a, b *nettest.Node, s *stopper) {
			a.Service().HandleStream("/plain/1", func(st network.Stream) { s.stop() })
			b.Service().HandleStream("/plain/1", func(st network.Stream) {})
			register(t, b.Service(), dispatcher.NewHandler("x", "text", func(ctx context.Context, _ dispatcher.Message) {
				if _, err := b.Service().NewStream(ctx, a.ID(), "/plain/1"); err != nil {
					t.Error(err)
				}
			}))
		},
		"loop over events": func(_ *testing.T, a, _ *nettest.Node, s *stopper) {
			sub := a.Service().SubscribePeers(netservice.PeerConnected)
			go func() {
				for range sub.All() {
					s.stop()
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				a := nw.Add(chain(), quiet())
				b := nw.Add(booted(a), quiet())
				s := &stopper{a.Service(), make(chan error, 1), make(chan time.Duration, 1)}
				set(t, a, b, s)
				nw.Start()
				if name != "loop over events" {
					b.WaitForPeers(1)
					sendText(t, a, b, s)
				}
				if err := next(t, "answer of Stop", s.errs); err != nil {
					t.Errorf("stop: %v", err)
				}
				if d := next(t, "time", s.took); d > 5*time.Second {
					t.Errorf("it took %s", d)
				}
			})
		})
	}
}

func checkRefused(t *testing.T, s *stopper, names string) {
	t.Helper()
	err := next(t, "answer of Stop", s.errs)
	if !errors.Is(err, netservice.ErrStopInHandler) || !strings.Contains(err.Error(), names) {
		t.Errorf("stop: %v, want it to name %s", err, names)
	}
	if d := next(t, "time", s.took); d != 0 {
		t.Errorf("it took %s", d)
	}
}

func sendText(t *testing.T, a, b *nettest.Node, _ *stopper) {
	if err := a.Service().SendMessageToPeer(t.Context(), "text", []byte("x"), b.ID().String()); err != nil {
		t.Error(err)
	}
}

func register(t *testing.T, s *netservice.NebService, sub dispatcher.Subscriber) {
	t.Helper()
	if err := s.Register(sub); err != nil {
		t.Fatal(err)
	}
}

func declareBig(t *testing.T, s *netservice.NebService) {
	t.Helper()
	if err := s.Declare(netservice.MessageSpec{Name: "big", MaxSize: 2 << 20}); err != nil {
		t.Fatal(err)
	}
}

// ownSubscriber is a module's own Subscriber.
type ownSubscriber struct{ s *stopper }

func (ownSubscriber) ID() any                          { return "own" }
func (ownSubscriber) MessageType() string              { return "text" }
func (ownSubscriber) DoFilter() bool                   { return false }
func (ownSubscriber) Weight() dispatcher.MessageWeight { return 0 }
func (o ownSubscriber) Deliver(dispatcher.Message) bool {
	o.s.stop()
	return true
}
