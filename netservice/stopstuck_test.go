package netservice_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
	"github.com/go-nebnet/nebnet/p2p"
)

// stuckCode is code of a program that does not return, and what calls it.
type stuckCode struct {
	blamed  string // the beginning of the only part that Stop may name
	names   string // what it says as well
	options func(stuck func()) []netservice.Option
	set     func(t *testing.T, s *netservice.NebService, stuck func()) // before the start
	refused bool                                                       // there is no session with the friend
	act     func(ctx context.Context, friend *netservice.NebService, to peer.ID)
}

func stuckCodes() map[string]stuckCode {
	echo := netservice.DeclareMethod("echo", netservice.Raw(), netservice.Raw())
	validate := func(t *testing.T, s *netservice.NebService, stuck func()) {
		t.Helper()
		if err := bait.Validate(s, func(context.Context, netservice.Received[[]byte]) netservice.Verdict {
			stuck()
			return netservice.Ignore()
		}); err != nil {
			t.Fatal(err)
		}
	}
	send := func(ctx context.Context, friend *netservice.NebService, to peer.ID) {
		for range 50 { // more than a full queue of a subscriber holds
			bait.Send(ctx, friend, to, []byte("x"))
		}
	}
	return map[string]stuckCode{
		"validator, of what is sent directly": {blamed: "sessions: ", names: "bait", set: validate, act: send},
		"validator, of a broadcast": {blamed: "gossip: ", names: "bait", set: validate,
			act: func(ctx context.Context, friend *netservice.NebService, _ peer.ID) {
				bait.Broadcast(ctx, friend, []byte("x"))
			}},
		"check of a header": {blamed: "large broadcasts: ", set: func(t *testing.T, s *netservice.NebService, stuck func()) {
			declareBig(t, s)
			register(t, s, dispatcher.NewSubscription("b", "big"))
			if err := s.SetHeaders("big", netservice.Headers{Check: func(context.Context, netservice.LargeHeader) netservice.Verdict {
				stuck()
				return netservice.Accept()
			}}); err != nil {
				t.Fatal(err)
			}
		}, act: func(ctx context.Context, friend *netservice.NebService, _ peer.ID) {
			friend.Declare(netservice.MessageSpec{Name: "big", MaxSize: 2 << 20})
			friend.SetHeaders("big", netservice.Headers{Make: func(netservice.LargeHeader, []byte) ([]byte, error) { return []byte("h"), nil }})
			friend.Broadcast(ctx, "big", make([]byte, 1<<20))
		}},
		"request": {blamed: "requests: ", names: "echo (1)", set: func(t *testing.T, s *netservice.NebService, stuck func()) {
			if _, err := echo.Serve(s, func(context.Context, peer.ID, []byte) ([]byte, error) { stuck(); return nil, nil }); err != nil {
				t.Fatal(err)
			}
		}, act: func(ctx context.Context, friend *netservice.NebService, to peer.ID) { echo.Call(ctx, friend, to, nil) }},
		"admission to a tunnel": {blamed: "tunnels: ", act: func(ctx context.Context, friend *netservice.NebService, to peer.ID) {
			if c, err := friend.P2P().DialConn(ctx, to, "/x/echo"); err == nil {
				c.Close()
			}
		}},
		"check of a peer": {blamed: "handshakes: ", refused: true, options: func(stuck func()) []netservice.Option {
			return []netservice.Option{netservice.WithPeerCheck(func(context.Context, netservice.PeerHello) error { stuck(); return nil })}
		}},
		"source of peers": {blamed: "discovery: ", names: "application registry", options: func(stuck func()) []netservice.Option {
			return []netservice.Option{netservice.WithPeerSource(stuckSource{stuck})}
		}},
		"subscriber": {blamed: "subscribers: ", names: "slow/bait", set: func(t *testing.T, s *netservice.NebService, stuck func()) {
			register(t, s, dispatcher.NewHandler("slow", "bait", func(context.Context, dispatcher.Message) { stuck() }))
		}, act: send},
		"lossless subscriber, full": {blamed: "subscribers: ", names: "slow/bait", set: func(t *testing.T, s *netservice.NebService, stuck func()) {
			register(t, s, dispatcher.NewHandler("slow", "bait", func(context.Context, dispatcher.Message) { stuck() },
				dispatcher.WithPolicy(dispatcher.Lossless), dispatcher.WithQueue(2)))
		}, act: send},
	}
}

// stuckSource is a PeerSource that does not heed its context.
type stuckSource struct{ stuck func() }

func (stuckSource) Name() string                                         { return "registry" }
func (s stuckSource) Find(context.Context, int, func(addr string)) error { s.stuck(); return nil }

// Rows 26 and 46: code of the program that does not return, wherever it is called from.
// Stop ends by its deadline and names where it is, and nothing else: what is asked to
// end after it has time of its own. A call beside it waits for it, and returns the same.
func TestStopWithStuckCode(t *testing.T) {
	for name, tc := range stuckCodes() {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				const most = 8 * time.Second
				entered, release := make(chan bool, 1), make(chan struct{})
				once := sync.OnceFunc(func() { entered <- true })
				stuck := func() { once(); <-release }
				cfg, opts := chain(), []netservice.Option{quiet()}
				cfg.ShutdownTimeout = netservice.Duration(most)
				if tc.options != nil {
					opts = append(opts, tc.options(stuck)...)
				}
				node := nw.Add(cfg, opts...)
				s, friend := node.Service(), nw.Add(booted(node), quiet())
				if _, err := bait.Subscribe(s, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
					t.Fatal(err)
				}
				if tc.set != nil {
					tc.set(t, s, stuck)
				}
				// By hand: the network would take the error of the end for a failure.
				if err := errors.Join(s.Start(), friend.Service().Start()); err != nil {
					t.Fatal(err)
				}
				defer friend.Service().Stop()
				if _, err := s.P2P().Listen(t.Context(), "/x/echo", p2p.WithAdmitFunc(func(peer.ID) bool { stuck(); return false })); err != nil {
					t.Fatal(err)
				}
				if !tc.refused {
					friend.WaitForPeers(1)
				}
				time.Sleep(5 * time.Second) // it has joined the meshes
				ctx, cancel := context.WithCancel(t.Context())
				var acts sync.WaitGroup
				if tc.act != nil {
					acts.Go(func() { tc.act(ctx, friend.Service(), node.ID()) })
				}
				next(t, "call of the code", entered)
				time.Sleep(time.Second) // what else is sent has come
				begin, beside := time.Now(), make(chan error, 1)
				acts.Go(func() {
					time.Sleep(time.Second)
					beside <- s.Stop()
				})
				err := s.Stop()
				if d := time.Since(begin); d > most {
					t.Errorf("Stop took %s", d)
				}
				stop, ok := errors.AsType[*netservice.StopError](err)
				if !ok || len(stop.Parts) != 1 || !strings.HasPrefix(stop.Parts[0].Error(), tc.blamed) || !strings.Contains(stop.Parts[0].Error(), tc.names) {
					t.Errorf("error %v", err)
				}
				if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
					t.Errorf("%v is no timeout", err)
				}
				if again := next(t, "end of the Stop beside it", beside); again != err {
					t.Errorf("beside it: %v", again)
				}
				close(release)
				cancel()
				acts.Wait()
			})
		})
	}
}
