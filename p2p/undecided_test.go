package p2p

import (
	"errors"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/stream"
)

// Streams on whose peer is not decided yet count within the limits, and a
// refused one counts as refused alone.
func TestUndecidedStreamsCount(t *testing.T) {
	overTransports(t, func(t *testing.T, dial, serve *P2P) {
		asked, decide := make(chan struct{}, 3), make(chan bool)
		info, err := serve.NewListener(t.Context(), web, echoService(t), WithMaxStreamsPerPeer(2),
			WithAdmitFunc(func(peer.ID) bool { asked <- struct{}{}; return <-decide }))
		if err != nil {
			t.Fatal(err)
		}
		defer close(decide) // lets go of whoever still waits
		open := func() network.Stream {
			s := openStream(t, dial.host, serve.self)
			if _, err := s.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			return s
		}
		first := open()
		testkit.Receive(t, asked, "the first stream")
		second := open()
		testkit.Receive(t, asked, "the second stream")
		third := open()
		if _, err := third.Read(make([]byte, 1)); !errors.Is(stream.Explain(err), ErrLimit) {
			t.Fatalf("one too many: %v", err)
		}
		if serve.host.ConnManager().IsProtected(dial.self, "") {
			t.Error("a peer that is not let in is protected")
		}
		decide <- false
		decide <- true
		got := make(chan error, 2)
		for _, s := range []network.Stream{first, second} {
			go func() {
				_, err := s.Read(make([]byte, 1))
				got <- stream.Explain(err)
			}()
		}
		var in, out int
		for range 2 {
			switch err := testkit.Receive(t, got, "an answer"); {
			case err == nil:
				in++
			case errors.Is(err, ErrNotAdmitted):
				out++
			default:
				t.Error(err)
			}
		}
		if in != 1 || out != 1 {
			t.Errorf("%d let in, %d not", in, out)
		}
		// The refused one is reset before it leaves the registry.
		awaitCount(t, serve, 1)
		if n := info.Now().Totals; n.Accepted != 1 || n.Refused != 2 {
			t.Errorf("totals %+v", n)
		}
		for name, want := range map[string]int64{
			obs.TunnelOpened: 1, obs.TunnelRefused + "not_admitted": 1, obs.TunnelRefused + "limit": 1,
			obs.TunnelFailed + "not_admitted": 0,
		} {
			if n := serve.obs.Counter(name).Count(); n != want {
				t.Errorf("%s is %d, want %d", name, n, want)
			}
		}
		if n := serve.obs.Gauge(obs.TunnelActive).Value(); n != 1 {
			t.Errorf("%d active", n)
		}
	})
}
