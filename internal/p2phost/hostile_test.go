package p2phost_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/testnet"
)

// Row 5: silent sockets, few and many, from one address, from many and from
// addresses that have no share. Honest peers connect all the while, and the
// silent ones are dropped by themselves.
func TestSilentSockets(t *testing.T) {
	for name, tc := range map[string]struct {
		n, most int
		from    func(i int) netip.Addr
	}{
		"one address":        {600, 16, func(int) netip.Addr { return public(900) }},
		"one subnet":         {600, 64, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{21, 0, 0, byte(i)}) }},
		"100 addresses":      {1500, 384, func(i int) netip.Addr { return public(1000 + i%100) }},
		"3000 addresses":     {3000, 384, func(i int) netip.Addr { return public(1000 + i) }},
		"private, no shares": {1500, 384, func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 4)}) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, l *lab) {
				open, wait := l.silence(tc.n, tc.from)
				time.Sleep(100 * time.Millisecond)
				if n := int(open.Load()); n == 0 || n > tc.most {
					t.Errorf("%d silent sockets are open, want some and at most %d", n, tc.most)
				}
				l.mustServe(public(1), "during")
				l.mustServe(netip.MustParseAddr("10.0.0.77"), "during, private neighbour")
				time.Sleep(20 * time.Second)
				if n := open.Load(); n != 0 {
					t.Errorf("%d silent sockets are still open", n)
				}
				wait()
				l.mustServe(public(2), "after")
			})
		})
	}
}

// The same when the attacker shares its address with a trusted peer, as in a
// network that runs on one machine.
func TestSilentSocketsFromATrustedAddress(t *testing.T) {
	boot := netip.MustParseAddr("10.0.0.1")
	bubble(t, func(c *p2phost.Config) { c.Trusted = append(c.Trusted, testnet.Multiaddr(boot)) }, func(t *testing.T, l *lab) {
		_, wait := l.silence(1500, func(int) netip.Addr { return boot })
		l.mustServe(boot, "from the same address")
		l.mustServe(public(1), "from elsewhere")
		time.Sleep(20 * time.Second)
		wait()
	})
}

// Row 6: a peer opens streams and never says what for. Others are served, the
// peer itself is once its streams have timed out, and nothing is left behind.
func TestStreamsThatNeverNegotiate(t *testing.T) {
	bubble(t, nil, func(t *testing.T, l *lab) {
		evil := l.attacker(public(9), nil)
		if err := l.connect(evil); err != nil {
			t.Fatal(err)
		}
		conn := evil.Network().ConnsToPeer(l.victim.ID())[0]
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2000 {
			wg.Go(func() { _, _ = conn.NewStream(ctx) })
		}
		time.Sleep(time.Second)
		open := 0
		for _, c := range l.victim.Network().ConnsToPeer(evil.ID()) {
			open += len(c.GetStreams())
		}
		if open == 0 || open > 40 {
			t.Errorf("the peer holds %d streams without a protocol", open)
		}
		l.mustServe(public(1), "during")
		cancel()
		wg.Wait()

		// A wait of at most two negotiation timeouts brings it back.
		time.Sleep(25 * time.Second)
		if err := evil.Network().ClosePeer(l.victim.ID()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the victim's back-off and dead streams
		if err := l.connect(evil); err != nil {
			t.Fatal(err)
		}
		if err := ask(t.Context(), evil, l.victim.ID(), "sorry"); err != nil {
			t.Errorf("after: %v", err)
		}
	})
}

// Row 14: a peer ID that the other side cannot prove.
func TestSpoofedPeerID(t *testing.T) {
	bubble(t, nil, func(t *testing.T, l *lab) {
		h := l.ours(public(1), nil)
		other := config(t)
		id, err := peer.IDFromPrivateKey(other.Key)
		if err != nil {
			t.Fatal(err)
		}
		// It is the handshake that finds out, not what looks at its outcome later.
		err = h.Connect(t.Context(), peer.AddrInfo{ID: id, Addrs: l.victim.Addrs()})
		var mismatch sec.ErrPeerIDMismatch
		if !errors.As(err, &mismatch) || mismatch.Expected != id || mismatch.Actual != l.victim.ID() {
			t.Errorf("under a name that is not the peer's: %v", err)
		}
		if n := len(h.Network().Peers()); n != 0 {
			t.Errorf("%d peers", n)
		}
		time.Sleep(time.Second)
		if n := len(l.victim.Network().Peers()); n != 0 {
			t.Errorf("the victim has %d peers", n)
		}
	})
}

// Row 15: one key from 12 addresses gets two connections, and it shows.
func TestOneKeyFromManyAddresses(t *testing.T) {
	var told atomic.Int64
	key := config(t).Key
	bubble(t, func(c *p2phost.Config) {
		c.Crowded = func(p peer.ID, remote ma.Multiaddr) {
			if p.MatchesPrivateKey(key) && remote != nil {
				told.Add(1)
			}
		}
	}, func(t *testing.T, l *lab) {
		for i := range 12 {
			_ = l.connect(l.attacker(public(10+i), key))
			time.Sleep(time.Second)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(l.victim.Network().ConnsToPeer(id)); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
		if n := l.count(obs.ConnsRefused + "peer_limit"); n < 10 {
			t.Errorf("%d refusals counted, want 10", n)
		} else if told.Load() != n {
			t.Errorf("the owner was told of %d of %d", told.Load(), n)
		}
		l.mustServe(public(1), "meanwhile")
	})
}

// The bound holds for both directions together.
func TestTwoConnectionsInAll(t *testing.T) {
	bubble(t, nil, func(t *testing.T, l *lab) {
		key := config(t).Key
		friend := l.ours(public(5), func(c *p2phost.Config) { c.Key = key })
		if err := l.victim.Connect(t.Context(), testnet.Info(friend)); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			_ = l.connect(l.attacker(public(10+i), key))
			time.Sleep(time.Second)
		}
		if n := len(l.victim.Network().ConnsToPeer(friend.ID())); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
}

// Row 16: both sides dial at once. Either both connections stand or one does;
// none is refused for the other's sake.
func TestSimultaneousDial(t *testing.T) {
	bubble(t, nil, func(t *testing.T, l *lab) {
		h := l.ours(public(1), nil)
		var wg sync.WaitGroup
		var errs [2]error
		wg.Go(func() { errs[0] = h.Connect(t.Context(), testnet.Info(l.victim)) })
		wg.Go(func() { errs[1] = l.victim.Connect(t.Context(), testnet.Info(h)) })
		wg.Wait()
		if errs != [2]error{} {
			t.Fatal(errs)
		}
		time.Sleep(time.Second)
		if a, b := len(h.Network().ConnsToPeer(l.victim.ID())), len(l.victim.Network().ConnsToPeer(h.ID())); a != b || a < 1 || a > 2 {
			t.Errorf("%d and %d connections", a, b)
		}
	})
}

// A private network: those with the key talk, others do not.
func TestPrivateNetwork(t *testing.T) {
	with := func(key string) func(*p2phost.Config) {
		return func(c *p2phost.Config) { c.PSK = []byte(key) }
	}
	bubble(t, with(strings.Repeat("k", 32)), func(t *testing.T, l *lab) {
		inside := l.ours(public(1), with(strings.Repeat("k", 32)))
		if err := l.connect(inside); err != nil {
			t.Fatal(err)
		}
		if err := ask(t.Context(), inside, l.victim.ID(), "secret"); err != nil {
			t.Error(err)
		}
		for i, key := range []string{strings.Repeat("o", 32), ""} {
			name := []string{"other key", "no key"}[i]
			if err := l.connect(l.ours(public(2+i), with(key))); err == nil {
				t.Errorf("%s: connected", name)
			}
			time.Sleep(time.Minute)
			if n := len(l.victim.Network().Peers()); n != 1 {
				t.Errorf("%s: %d peers", name, n)
			}
		}
	})
}
