package p2p

import (
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/listener"
)

// Peers that do not serve the protocol, or are not there.

func TestCheckRemote(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		_, err := dial.Dial(t.Context(), nil, serve.self, web, testkit.Addr(t, loopback), WithCheck())
		wantErr(t, err, ErrNotServed)
		wantErr(t, dial.CheckRemote(t.Context(), serve.self, web), ErrNotServed)
		_, err = dial.DialConn(t.Context(), serve.self, web)
		wantErr(t, err, ErrNotServed)
		if _, err := serve.NewListener(t.Context(), web, echoService(t)); err != nil {
			t.Fatal(err)
		}
		if err := dial.CheckRemote(t.Context(), serve.self, web); err != nil {
			t.Error(err)
		}
		nobody := newHost(t, transports[0])
		_ = nobody.Close()
		_, err = dial.Dial(t.Context(), nil, nobody.ID(), web, testkit.Addr(t, loopback), WithCheck())
		wantErr(t, err, ErrUnreachable)
		if n := len(dial.Listeners.List()); n != 0 {
			t.Errorf("%d listeners left", n)
		}
	})
}

// A peer serves the protocol also while its service is down, whether its answer
// or its refusal comes first.
func TestCheckRemoteOfAServiceThatIsDown(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		if _, err := serve.NewListener(t.Context(), web, freePort(t)); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if err := dial.CheckRemote(t.Context(), serve.self, web); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A peer that stopped serving is found out although its list was known.
func TestServiceThatWentAway(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		at := tunnel(t, dial, serve, echoService(t))
		mustEcho(t, connect(t, at), "x")
		serve.Listeners.Close(listener.All())
		_ = dial.peerstore.AddProtocols(serve.self, web) // whatever identify-push says
		wantRefused(t, at)
		_ = dial.peerstore.AddProtocols(serve.self, web)
		_, err := dial.DialConn(t.Context(), serve.self, web)
		wantErr(t, err, ErrNotServed)
	})
}

// New connections work again by themselves when the peer is back.
func TestConnectionsWorkAgainAfterAnOutage(t *testing.T) {
	for _, tc := range transports {
		t.Run(tc.name, func(t *testing.T) {
			tc = tc.ready()
			a := newHost(t, tc)
			b := newHost(t, tc)
			dial := newTunnels(t, a)
			serve := newTunnels(t, b)
			target := echoService(t)
			if _, err := serve.NewListener(t.Context(), web, target); err != nil {
				t.Fatal(err)
			}
			l, err := dial.Dial(t.Context(), b.Addrs()[0], b.ID(), web, testkit.Addr(t, loopback), WithDialTimeout(2*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, connectInfo(t, l), "before")
			key := b.Peerstore().PrivKey(b.ID())
			again := tc
			if again.listen = b.Addrs()[0].String(); tc.mem != nil {
				tc.mem.last.Add(-1) // the same node
			}
			_ = serve.Close()
			_ = b.Close()
			for range 3 { // enough for libp2p to stop trying for a while
				wantRefused(t, hostPort(t, l.Listen))
			}
			b = newHost(t, again, identity(key))
			serve = newTunnels(t, b)
			if _, err := serve.NewListener(t.Context(), web, target); err != nil {
				t.Fatal(err)
			}
			mustEcho(t, connectInfo(t, l), "after")
		})
	}
}

// A peer that agrees to the protocol and then resets the stream without a reason, as
// kubo does when its service is down, serves the protocol: whichever of answer and
// reset is read first.
func TestCheckRemoteOfAPeerThatResets(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		serve.host.SetStreamHandler(web, func(s network.Stream) { _ = s.Reset() })
		for range 20 {
			if err := dial.CheckRemote(t.Context(), serve.self, web); err != nil {
				t.Fatal(err)
			}
		}
		serve.host.SetStreamHandler(web, func(s network.Stream) { _ = s.ResetWithError(network.StreamGated) })
		var refused int
		for range 20 {
			if err := dial.CheckRemote(t.Context(), serve.self, web); errors.Is(err, ErrNotAdmitted) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d of 20 were told at once that they are not admitted", refused)
	})
}
