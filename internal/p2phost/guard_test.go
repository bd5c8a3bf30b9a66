package p2phost

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/obs"
)

func testGuard() *guard {
	c := Config{Obs: obs.Discard()}.withDefaults()
	return newGuard(&network.NullResourceManager{}, concrete(c), c)
}

func TestInboundStreamsWaitForTheirOwnPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGuard()
		open := func(p peer.ID) network.StreamManagementScope {
			s, err := g.OpenStream(p, network.DirInbound)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		var opened []network.StreamManagementScope
		for range negotiatingPerPeer {
			opened = append(opened, open("evil"))
		}
		open("honest").Done()
		if _, err := g.OpenStream("evil", network.DirOutbound); err != nil {
			t.Errorf("outbound: %v", err)
		}

		begun := time.Now()
		_, err := g.OpenStream("evil", network.DirInbound)
		if !errors.Is(err, ErrNegotiating) || !errors.Is(err, network.ErrResourceLimitExceeded) || time.Since(begun) != negotiateWait {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}

		// A stream that negotiates, or dies, makes room at once; one that does
		// both makes room once.
		for i, free := range []func(network.StreamManagementScope){
			func(s network.StreamManagementScope) { _ = s.SetProtocol("/x"); s.Done(); s.Done() },
			func(s network.StreamManagementScope) { s.Done() },
		} {
			time.AfterFunc(time.Second, func() { free(opened[i]) })
			begun = time.Now()
			opened = append(opened, open("evil"))
			if d := time.Since(begun); d != time.Second {
				t.Errorf("waited %v", d)
			}
		}
		if _, err := g.OpenStream("evil", network.DirInbound); err == nil {
			t.Error("one slot too many came free")
		}

		// Close lets the waiting go.
		time.AfterFunc(time.Second, func() { _ = g.Close() })
		begun = time.Now()
		if _, err := g.OpenStream("evil", network.DirInbound); err == nil || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		for _, s := range opened {
			s.Done()
		}
		if len(g.streams.peers) != 0 {
			t.Errorf("state of %d peers is left", len(g.streams.peers))
		}
		_ = g.Close()
	})
}

func TestNegotiationsConcurrently(t *testing.T) {
	g := testGuard()
	var wg sync.WaitGroup
	for _, p := range []peer.ID{"a", "b", "c"} {
		for range 50 {
			wg.Go(func() {
				for range 200 {
					s, err := g.OpenStream(p, network.DirInbound)
					if err != nil {
						t.Error(err)
						return
					}
					_ = s.SetProtocol("/x")
					s.Done()
				}
			})
		}
	}
	wg.Wait()
	if len(g.streams.peers) != 0 {
		t.Errorf("state of %d peers is left", len(g.streams.peers))
	}
}

// closer remembers that it was closed.
type closer struct{ closed bool }

func (c *closer) Close() error { c.closed = true; return nil }

// Beyond the pool's mark, the oldest connection of the address with the most
// goes; trusted ones stay; nothing is counted twice or for ever.
func TestEviction(t *testing.T) {
	trusted := ma.StringCast("/ip4/9.9.9.9/tcp/1")
	hs := newHandshakes(Config{Trusted: []ma.Multiaddr{trusted}}.withDefaults())
	hs.high, hs.perIP, hs.perNet = 6, 4, 5
	closers := map[string]*closer{}
	open := map[string]*handshake{}
	begin := func(a string) error {
		t.Helper()
		m := ma.StringCast(a)
		closers[a] = &closer{}
		hs.offer(m, closers[a])
		h, err := hs.begin(m)
		if err == nil {
			open[a] = h
		}
		return err
	}
	must := func(a string) {
		t.Helper()
		if err := begin(a); err != nil {
			t.Fatal(err)
		}
	}
	closed := func() (out []string) {
		for a, c := range closers {
			if c.closed {
				out = append(out, a)
			}
		}
		slices.Sort(out)
		return out
	}

	must("/ip4/1.1.1.1/tcp/1")
	must("/ip4/9.9.9.9/tcp/1") // trusted, alone the oldest soon
	must("/ip4/1.1.1.1/tcp/2")
	must("/ip4/1.1.1.1/tcp/3")
	must("/ip4/1.1.1.1/tcp/4")
	if err := begin("/ip4/1.1.1.1/tcp/5"); !errors.Is(err, ErrHandshakes) {
		t.Errorf("beyond the address's share: %v", err)
	}
	must("/ip4/1.1.1.2/tcp/1")
	if err := begin("/ip4/1.1.1.3/tcp/1"); !errors.Is(err, ErrHandshakes) {
		t.Errorf("beyond the subnet's share: %v", err)
	}
	if c := closed(); c != nil {
		t.Fatalf("closed too early: %v", c)
	}
	must("/ip4/2.2.2.2/tcp/1") // the seventh
	must("/ip4/3.3.3.3/tcp/1")
	if c := closed(); !slices.Equal(c, []string{"/ip4/1.1.1.1/tcp/1", "/ip4/1.1.1.1/tcp/2"}) {
		t.Errorf("closed %v", c)
	}
	open["/ip4/1.1.1.1/tcp/1"].end() // its scope is done only now
	for range 2 {
		open["/ip4/1.1.1.1/tcp/3"].end() // its peer is known, then it goes
	}
	must("/ip4/4.4.4.4/tcp/1")
	must("/ip4/5.5.5.5/tcp/1") // one each: the oldest that is not trusted
	if c := closed(); !slices.Equal(c, []string{"/ip4/1.1.1.1/tcp/1", "/ip4/1.1.1.1/tcp/2", "/ip4/1.1.1.1/tcp/4"}) {
		t.Errorf("closed %v", c)
	}
	for _, h := range open {
		h.end()
	}
	if len(hs.open)+len(hs.byIP)+len(hs.byNet)+len(hs.offered) != 0 {
		t.Errorf("left: %v %v %v %v", hs.open, hs.byIP, hs.byNet, hs.offered)
	}
}

// Connections without an IP address (or without any, from libp2p's QUIC) pass.
func TestHandshakesWithoutAddress(t *testing.T) {
	g := testGuard()
	for _, a := range []ma.Multiaddr{nil, ma.StringCast("/memory/1")} {
		s, err := g.OpenConnection(network.DirInbound, false, a)
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		s.Done()
		s.Done()
	}
	if len(g.conns.open) != 0 {
		t.Error("a handshake is left")
	}
}

func BenchmarkHandshakesFull(b *testing.B) {
	g := testGuard()
	g.conns.high = 384
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		a, err := manet.FromNetAddr(tcpAddr(i))
		if err != nil {
			b.Fatal(err)
		}
		g.conns.offer(a, &closer{})
		if _, err := g.OpenConnection(network.DirInbound, true, a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenStream(b *testing.B) {
	g := testGuard()
	b.ReportAllocs()
	for b.Loop() {
		s, err := g.OpenStream("p", network.DirInbound)
		if err != nil {
			b.Fatal(err)
		}
		_ = s.SetProtocol("/x")
		s.Done()
	}
}

func tcpAddr(i int) net.Addr {
	ip := netip.AddrFrom4([4]byte{30, byte(i >> 8), byte(i), 1})
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 1))
}

// Protocols share one account, and those with a limit of their own have theirs.
func TestProtocolsShareAnAccount(t *testing.T) {
	c := Config{MaxPeers: 10, Obs: obs.Discard()}.withDefaults()
	limits := concrete(c)
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits))
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(rm, limits, c)
	defer g.Close()
	for _, dir := range []network.Direction{network.DirInbound, network.DirOutbound} {
		for _, id := range []protocol.ID{"/a", "/b", identify.ID} {
			s, err := g.OpenStream("peer", dir)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Done()
			if err := s.SetProtocol(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := rm.(rcmgr.ResourceManagerState).ListProtocols()
	slices.Sort(got)
	want := slices.Sorted(slices.Values([]protocol.ID{identify.ID, sharedAccount}))
	if !slices.Equal(got, want) {
		t.Errorf("accounts for %q, want %q", got, want)
	}
	if err := rm.ViewProtocol(sharedAccount, func(s network.ProtocolScope) error {
		if st := s.Stat(); st.NumStreamsInbound != 2 || st.NumStreamsOutbound != 2 {
			t.Errorf("%+v", st)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
