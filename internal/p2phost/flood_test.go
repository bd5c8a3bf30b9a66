package p2phost_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/testkit"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// Row 18: many identities from one address, and from one /24. They are capped;
// peers from elsewhere, and from a private network, are served.
func TestConnectionFlood(t *testing.T) {
	caps := func(c *p2phost.Config) { c.ConnsPerIP, c.ConnsPerSubnet = 8, 24 }
	for name, tc := range map[string]struct {
		from func(i int) netip.Addr
		most int
	}{
		"one address":    {func(int) netip.Addr { return public(900) }, 8},
		"one subnet":     {func(i int) netip.Addr { return netip.AddrFrom4([4]byte{21, 0, 0, byte(i)}) }, 24},
		"private is one": {func(int) netip.Addr { return netip.MustParseAddr("192.168.7.7") }, 40},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, caps, func(t *testing.T, l *lab) {
				for i := range 40 {
					_ = l.connect(l.attacker(tc.from(i), nil))
				}
				time.Sleep(time.Second)
				if n := len(l.victim.Network().Peers()); n != tc.most {
					t.Errorf("%d connections, want %d", n, tc.most)
				}
				l.mustServe(public(1), "during")
				if l.obs.Counter(obs.ConnsRefused+"limit").Count() == 0 && tc.most < 40 {
					t.Error("no refusal was counted")
				}
			})
		})
	}
}

// For the public Internet, private addresses are as limited as others.
func TestConnectionFloodInProduction(t *testing.T) {
	bubble(t, func(c *p2phost.Config) { c.NoPrivate, c.ConnsPerIP = true, 8 }, func(t *testing.T, l *lab) {
		for range 20 {
			_ = l.connect(l.attacker(netip.MustParseAddr("192.168.7.7"), nil))
		}
		time.Sleep(time.Second)
		if n := len(l.victim.Network().Peers()); n != 8 {
			t.Errorf("%d connections, want 8", n)
		}
	})
}

// Row 19: connect and leave, again and again: rate limited, nothing kept.
func TestChurn(t *testing.T) {
	bubble(t, func(c *p2phost.Config) { c.ConnsPerIP = 8 }, func(t *testing.T, l *lab) {
		in := 0
		for range 100 {
			h := l.attacker(public(9), nil)
			if l.connect(h) == nil {
				in++
			}
			_ = h.Close()
		}
		if in < 16 || in > 60 {
			t.Errorf("%d of 100 connections in a few seconds, want a burst of 16 and 2 a second", in)
		}
		l.mustServe(public(1), "during")
		time.Sleep(time.Minute)
		if n := len(l.victim.Network().Conns()); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		h := l.attacker(public(9), nil)
		if err := l.connect(h); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// A whole private chain behind one address gets in at once.
func TestManyPeersBehindOneAddress(t *testing.T) {
	bubble(t, nil, func(t *testing.T, l *lab) {
		nat := public(900)
		var wg sync.WaitGroup
		errs := make([]error, p2phost.DefaultConnsPerIP)
		for i := range errs {
			h := l.attacker(nat, nil)
			wg.Go(func() {
				// In batches, as nodes start: a share of handshakes at a time.
				time.Sleep(time.Duration(i/16) * time.Second)
				errs[i] = l.connect(h)
			})
		}
		wg.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("peer %d: %v", i, err)
			}
		}
	})
}

// Trusted peers get in when the limits are used up.
func TestTrustedPeersHaveAReserve(t *testing.T) {
	boot := public(7)
	bubble(t, func(c *p2phost.Config) {
		c.ConnsPerIP = 4
		c.Trusted = append(c.Trusted, testnet.Multiaddr(boot), testkit.Addr(t, "/dns4/ignored.example/tcp/1"))
	}, func(t *testing.T, l *lab) {
		for i := range 12 {
			if err := l.connect(l.attacker(boot, nil)); err != nil {
				t.Errorf("trusted peer %d: %v", i, err)
			}
		}
	})
}

// The gate sees dials, accepts and proven identities.
func TestGate(t *testing.T) {
	g := &gate{}
	bubble(t, func(c *p2phost.Config) { c.Gate = g }, func(t *testing.T, l *lab) {
		h := l.ours(public(1), nil)
		try := func(refuse string, want bool) {
			t.Helper()
			g.set(refuse)
			err := l.connect(h)
			time.Sleep(time.Second)
			if got := len(l.victim.Network().Peers()) == 1; got != want {
				t.Errorf("refusing %q: connected is %v, want %v (%v)", refuse, got, want, err)
			}
			_ = h.Network().ClosePeer(l.victim.ID())
			time.Sleep(time.Minute) // dial back-off
		}
		try("", true)
		try("accept", false)
		try("peer", false)
		g.set("dial")
		if err := l.victim.Connect(t.Context(), testnet.Info(h)); err == nil {
			t.Error("the dial was not refused")
		}
		g.set("peer")
		if err := l.victim.Connect(t.Context(), testnet.Info(h)); err == nil {
			t.Error("the peer was not refused")
		}
		if n := l.count(obs.ConnsRefused + "gate"); n < 3 {
			t.Errorf("%d refusals counted", n)
		}
		want := fmt.Sprintf("inbound %s %s", h.ID(), public(1))
		if g.last() != want {
			t.Errorf("the gate saw %q, want %q", g.last(), want)
		}
	})
}
