package netservice_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
	"github.com/go-nebnet/nebnet/p2p"
)

// Rows 26 and 46: code of the program that does not return, wherever it is called from.
// Stop ends by its deadline and names where it is; a call beside it waits for it, and
// returns the same.
func TestStopWithStuckCode(t *testing.T) {
	echo := netservice.DeclareMethod("echo", netservice.Raw(), netservice.Raw())
	validate := func(t *testing.T, s *netservice.NebService, stuck func()) {
		err := bait.Validate(s, func(context.Context, netservice.Received[[]byte]) netservice.Verdict {
			stuck()
			return netservice.Ignore()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		part, names string
		set         func(t *testing.T, s *netservice.NebService, stuck func())
		act         func(ctx context.Context, friend *netservice.NebService, to peer.ID)
	}{
		"validator, of what is sent directly": {"sessions", "bait", validate, func(ctx context.Context, friend *netservice.NebService, to peer.ID) {
			bait.Send(ctx, friend, to, []byte("x"))
		}},
		"validator, of a broadcast": {"gossip", "", validate, func(ctx context.Context, friend *netservice.NebService, to peer.ID) {
			bait.Broadcast(ctx, friend, []byte("x"))
		}},
		"request": {"requests", "echo", func(t *testing.T, s *netservice.NebService, stuck func()) {
			if _, err := echo.Serve(s, func(context.Context, peer.ID, []byte) ([]byte, error) { stuck(); return nil, nil }); err != nil {
				t.Fatal(err)
			}
		}, func(ctx context.Context, friend *netservice.NebService, to peer.ID) {
			echo.Call(ctx, friend, to, nil)
		}},
		"admission to a tunnel": {"tunnels", "", func(t *testing.T, s *netservice.NebService, stuck func()) {
			if _, err := s.P2P().Listen(t.Context(), "/x/echo", p2p.WithAdmitFunc(func(peer.ID) bool { stuck(); return false })); err != nil {
				t.Fatal(err)
			}
		}, func(ctx context.Context, friend *netservice.NebService, to peer.ID) {
			if c, err := friend.P2P().DialConn(ctx, to, "/x/echo"); err == nil {
				c.Close()
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, nw *nettest.Network) {
				const most = 8 * time.Second
				cfg := chain()
				cfg.ShutdownTimeout = netservice.Duration(most)
				node := nw.Add(cfg, quiet())
				s, friend := node.Service(), nw.Add(booted(node), quiet())
				entered, release := make(chan bool, 1), make(chan struct{})
				once := sync.OnceFunc(func() { entered <- true })
				if _, err := bait.Subscribe(s, func(context.Context, netservice.Received[[]byte]) {}); err != nil {
					t.Fatal(err)
				}
				// By hand: the network would take the error of the end for a failure.
				if err := errors.Join(s.Start(), friend.Service().Start()); err != nil {
					t.Fatal(err)
				}
				defer friend.Service().Stop()
				friend.WaitForPeers(1)
				tc.set(t, s, func() { once(); <-release })
				time.Sleep(5 * time.Second) // it has joined the meshes
				ctx, cancel := context.WithCancel(t.Context())
				var acts sync.WaitGroup
				acts.Go(func() { tc.act(ctx, friend.Service(), node.ID()) })
				next(t, "call of the code", entered)
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
				if !ok || !strings.Contains(stop.Error(), tc.part+":") || !strings.Contains(stop.Error(), tc.names) {
					t.Errorf("error %v", err)
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
