package netservice_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/netservice"
	"github.com/go-nebnet/nebnet/netservice/nettest"
)

// occupy takes all that a service's resource manager gives for connections with an
// address, or with a peer, and returns what gives it back.
func occupy(t *testing.T, s *netservice.NebService, dir network.Direction, addr string, p peer.ID) (free func()) {
	t.Helper()
	rm := s.Node().Host().Network().ResourceManager()
	at := ma.StringCast(addr)
	var opened []network.ConnManagementScope
	for range 1000 {
		c, err := rm.OpenConnection(dir, true, at)
		if err == nil && p != "" {
			if err = c.SetPeer(p); err != nil {
				c.Done()
			}
		}
		if err == nil {
			opened = append(opened, c)
			continue
		}
		if !errors.Is(err, network.ErrResourceLimitExceeded) {
			t.Errorf("%v does not say that it is a limit", err)
		}
		if len(opened) == 0 {
			t.Fatal("nothing could be taken")
		}
		return func() {
			for _, c := range opened {
				c.Done()
			}
		}
	}
	t.Fatal("there is no limit")
	return nil
}

// What libp2p's resource manager refuses is told by Why, with whose limit it was and
// when the peer is tried next, and is not held against the peer.
func TestWhyOfLimits(t *testing.T) {
	says := func(t *testing.T, w netservice.PeerWhy, words ...string) {
		t.Helper()
		for _, word := range words {
			if !strings.Contains(w.String(), word) {
				t.Errorf("%q does not say %q", w.String(), word)
			}
		}
	}
	why := func(t *testing.T, s *netservice.NebService, p peer.ID) netservice.PeerWhy {
		t.Helper()
		w, err := s.Why(p.String())
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	t.Run("ours", func(t *testing.T) {
		inBubble(t, func(t *testing.T, nw *nettest.Network) {
			a, b, c := nw.Add(chain(), quiet()), nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
			nw.Start()
			s := a.Service()
			if err := s.ConnectPeer(t.Context(), c.Addr()); err != nil { // whoever has nobody blames nobody
				t.Fatal(err)
			}
			at, _, _ := strings.Cut(b.Addr(), "/p2p/")
			free := occupy(t, s, network.DirOutbound, at, "")
			if err := s.ConnectPeer(t.Context(), b.Addr()); !errors.Is(err, network.ErrResourceLimitExceeded) {
				t.Errorf("connect: %v", err)
			}
			says(t, why(t, s, b.ID()), "is not connected", "a limit of this node", "resource limit exceeded")
			if err := s.AddStaticPeer(b.Addr()); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				time.Sleep(20 * time.Second)
				w := why(t, s, b.ID())
				says(t, w, "a limit of this node", "resource limit exceeded", "tried next in")
				if w.Last != netservice.ReasonUnreachable || w.ByPeer || w.WasSession || w.Failures != 0 || w.Next.Before(time.Now()) {
					t.Errorf("%+v", w)
				}
			}
			free()
			time.Sleep(time.Minute)
			if w := why(t, s, b.ID()); !w.Connected {
				t.Errorf("not connected when there is room again: %s", w)
			}
		})
	})
	t.Run("theirs, without a word", func(t *testing.T) { // TCP has none
		inBubble(t, func(t *testing.T, nw *nettest.Network) {
			a, b := nw.Add(chain(), quiet()), nw.Add(chain(), quiet())
			nw.Start()
			s := a.Service()
			free := occupy(t, b.Service(), network.DirInbound, "/ip4/1.2.3.4/tcp/1", a.ID())
			if err := s.AddStaticPeer(b.Addr()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			w := why(t, s, b.ID())
			says(t, w, "is not connected", "hung up before the handshake", "limits", "tried next in")
			if w.Last != netservice.ReasonTransportLost || w.WasSession || w.Next.Before(time.Now()) {
				t.Errorf("%+v", w)
			}
			free()
			time.Sleep(time.Minute)
			if w := why(t, s, b.ID()); !w.Connected {
				t.Errorf("not connected when there is room again: %s", w)
			}
		})
	})
	t.Run("theirs", func(t *testing.T) { // QUIC has a code for it
		cfg := chain()
		cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
		a, b := start(t, cfg), start(t, cfg)
		free := occupy(t, b, network.DirInbound, "/ip4/127.0.0.1/udp/1/quic-v1", a.Node().ID())
		addr := b.Node().Addrs()[0].String()
		if err := a.ConnectPeer(deadline(t), addr); !errors.Is(err, netservice.ReasonTooManyPeers) {
			t.Errorf("connect: %v", err)
		}
		w := why(t, a, b.Node().ID())
		says(t, w, "is not connected", "it said", "a limit of the peer")
		if w.Last != netservice.ReasonTooManyPeers || !w.ByPeer || w.WasSession {
			t.Errorf("%+v", w)
		}
		free()
		if err := a.ConnectPeer(deadline(t), addr); err != nil {
			t.Errorf("not connected when there is room again: %v", err)
		}
	})
}
