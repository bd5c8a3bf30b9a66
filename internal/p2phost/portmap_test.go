package p2phost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/testkit"
)

// listens are the addresses of a host.
type listens []ma.Multiaddr

func (l listens) ListenAddresses() []ma.Multiaddr { return l }

// byUPnP is libp2p's part: it maps everything, or has found no router.
type byUPnP struct {
	found  atomic.Bool
	closed atomic.Bool
}

func (b *byUPnP) HasDiscoveredNAT() bool { return b.found.Load() }

func (b *byUPnP) GetMapping(ma.Multiaddr) ma.Multiaddr {
	if b.found.Load() {
		return ma.StringCast("/ip4/21.0.0.1/tcp/1")
	}
	return nil
}

func (b *byUPnP) Close() error {
	b.closed.Store(true)
	return nil
}

// home is a router on a loopback address, and what it forwards.
type home struct {
	at      netip.Addr
	outside atomic.Pointer[netip.Addr]
	shift   atomic.Int32 // of ports; below 0 it refuses those of TCP

	mu      sync.Mutex // guards what follows
	ports   map[string]uint16
	renewed int
	pause   chan struct{} // when set, each request waits for it
	ended   map[string]bool
}

// newHome is a router that only one test asks: NAT-PMP has one port.
func newHome(t *testing.T, at string) *home {
	t.Helper()
	h := &home{at: netip.MustParseAddr(at), ports: make(map[string]uint16), ended: make(map[string]bool)}
	h.is("20.0.0.1")
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.at, 5351)))
	if err != nil {
		t.Skipf("NAT-PMP has one port, and here it cannot be had: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		testkit.PMP{Outside: func() netip.Addr { return *h.outside.Load() }, Forward: h.forward}.Serve(conn)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return h
}

func (h *home) is(outside string) {
	ip := netip.MustParseAddr(outside)
	h.outside.Store(&ip)
}

func (h *home) forward(protocol string, inside netip.AddrPort, wanted uint16, lifetime uint32) uint16 {
	h.mu.Lock()
	pause := h.pause
	h.mu.Unlock()
	if pause != nil {
		pause <- struct{}{} // it is told that there is a request
		<-pause
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := fmt.Sprint(protocol, " ", inside.Port())
	shift := h.shift.Load()
	switch {
	case lifetime == 0:
		h.ended[key] = true
		return 0
	case shift < 0 && protocol == "tcp":
		return 0
	}
	h.renewed++
	h.ports[key] = wanted + uint16(max(shift, 0))
	return h.ports[key]
}

func (h *home) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.renewed
}

var atHome = listens{
	ma.StringCast("/ip4/0.0.0.0/tcp/4001"), ma.StringCast("/ip4/0.0.0.0/udp/4001/quic-v1"),
	ma.StringCast("/ip4/192.168.1.2/tcp/4002/ws"), ma.StringCast("/ip4/127.0.0.1/tcp/4003"),
	ma.StringCast("/ip6/::/tcp/4004"), ma.StringCast("/dns4/a.example/tcp/4005"), ma.StringCast("/ip4/0.0.0.0"),
}

func (h *home) mapper(libp2p *byUPnP) *portMapper {
	m := &portMapper{
		libp2p: libp2p, network: atHome, gateway: func() (netip.Addr, error) { return h.at, nil },
		times: pmpTimes{
			first: 1, renew: 10 * time.Millisecond, again: 10 * time.Millisecond,
			ask: time.Minute, release: time.Minute, // it answers, however busy the machine is
		},
	}
	m.start()
	return m
}

// outside are the addresses outside of all that are listened on.
func (m *portMapper) outside() string {
	var all []string
	for _, a := range atHome {
		if out := m.GetMapping(a); out != nil {
			all = append(all, out.String())
		}
	}
	return strings.Join(all, " ")
}

// The router forwards what is listened on, for as long as that is renewed; what it
// changes and refuses is heeded, and in the end it forwards nothing.
func TestPortMapper(t *testing.T) {
	h := newHome(t, "127.5.35.1")
	upnp := &byUPnP{}
	m := h.mapper(upnp)
	is := func(what, want string) {
		t.Helper()
		testkit.Eventually(t, what, func() bool { return m.outside() == want })
		if m.HasDiscoveredNAT() != (want != "") {
			t.Errorf("%s: found is %v", what, m.HasDiscoveredNAT())
		}
	}
	is("the first mappings", "/ip4/20.0.0.1/tcp/4001 /ip4/20.0.0.1/udp/4001/quic-v1 /ip4/20.0.0.1/tcp/4002/ws")
	h.shift.Store(1000)
	is("ports that are taken", "/ip4/20.0.0.1/tcp/5001 /ip4/20.0.0.1/udp/5001/quic-v1 /ip4/20.0.0.1/tcp/5002/ws")
	h.is("20.0.0.9")
	is("another address", "/ip4/20.0.0.9/tcp/5001 /ip4/20.0.0.9/udp/5001/quic-v1 /ip4/20.0.0.9/tcp/5002/ws")
	h.shift.Store(-1)
	is("no TCP", "/ip4/20.0.0.9/udp/4001/quic-v1")
	h.is("0.0.0.0")
	is("a line that is down", "")
	h.is("20.0.0.9")
	is("a line that is up", "/ip4/20.0.0.9/udp/4001/quic-v1")
	if err := m.Close(); err != nil || !upnp.closed.Load() {
		t.Errorf("close: %v; libp2p's part is closed: %v", err, upnp.closed.Load())
	}
	if out := m.outside(); out != "" {
		t.Errorf("after Close: %s", out)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ended) != 1 || !h.ended["udp 4001"] {
		t.Errorf("taken away: %v", h.ended)
	}
}

// What was mapped is taken away also when the end comes while it is renewed.
func TestPortMapperEndsWhileRenewing(t *testing.T) {
	h := newHome(t, "127.5.35.5")
	m := h.mapper(&byUPnP{})
	testkit.Eventually(t, "the first mappings", func() bool { return strings.Count(m.outside(), " ") == 2 })
	pause := make(chan struct{})
	h.mu.Lock()
	h.pause = pause
	h.mu.Unlock()
	testkit.Receive(t, pause, "a renewal")
	m.cancel()
	h.mu.Lock()
	h.pause = nil
	h.mu.Unlock()
	close(pause)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ended) != 3 {
		t.Errorf("taken away: %v", h.ended)
	}
}

// Where libp2p has found a router by UPnP, it is not asked again by NAT-PMP.
func TestPortMapperLeavesUPnP(t *testing.T) {
	h := newHome(t, "127.5.35.2")
	upnp := &byUPnP{}
	upnp.found.Store(true)
	looked := make(chan struct{}, 64)
	m := &portMapper{
		libp2p: lookedAt{upnp, looked}, network: atHome, gateway: func() (netip.Addr, error) { return h.at, nil },
		times: pmpTimes{first: 1, renew: 1, again: 1},
	}
	m.start()
	for range 10 { // rounds
		testkit.Receive(t, looked, "a look whether it is found")
	}
	if got := m.GetMapping(atHome[0]).String(); got != "/ip4/21.0.0.1/tcp/1" {
		t.Errorf("mapped to %s", got)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := h.asked(); n != 0 {
		t.Errorf("asked %d times by NAT-PMP", n)
	}
}

// lookedAt tells when it is asked whether there is a router.
type lookedAt struct {
	*byUPnP
	looked chan struct{}
}

func (l lookedAt) HasDiscoveredNAT() bool {
	select {
	case l.looked <- struct{}{}:
	default:
	}
	return l.byUPnP.HasDiscoveredNAT()
}

// Without a router, or one that answers, there is no mapping; Close does not wait long.
func TestPortMapperWithoutRouter(t *testing.T) {
	asked := make(chan struct{}, 64)
	for name, gateway := range map[string]func() (netip.Addr, error){
		"none":       func() (netip.Addr, error) { return netip.Addr{}, errNoGateway },
		"no answer":  func() (netip.Addr, error) { return netip.MustParseAddr("127.5.35.3"), nil },
		"no route":   func() (netip.Addr, error) { return netip.Addr{}, errors.New("routes") },
		"of no host": func() (netip.Addr, error) { return netip.MustParseAddr("127.5.35.4"), nil },
	} {
		m := &portMapper{libp2p: &byUPnP{}, network: atHome, times: pmpTimes{first: 1, renew: 1, again: 1, ask: time.Second, release: 1}}
		m.gateway = func() (netip.Addr, error) {
			select {
			case asked <- struct{}{}:
			default:
			}
			return gateway()
		}
		m.start()
		testkit.Receive(t, asked, name+": a look for the router")
		if out := m.outside(); out != "" || m.HasDiscoveredNAT() {
			t.Errorf("%s: mapped to %s", name, out)
		}
		if err := m.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGatewayIn(t *testing.T) {
	number := func(ip string) string {
		raw := netip.MustParseAddr(ip).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(raw[:]))
	}
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	route := func(to, via, flags string, metric int, mask string) string {
		return fmt.Sprintf("eth0\t%s\t%s\t%s\t0\t0\t%d\t%s\t0\t0\t0\n", number(to), number(via), flags, metric, number(mask))
	}
	home := route("192.168.1.0", "0.0.0.0", "0001", 0, "255.255.255.0")
	for name, c := range map[string]struct{ table, want string }{
		"home":        {head + home + route("0.0.0.0", "192.168.1.1", "0003", 100, "0.0.0.0"), "192.168.1.1"},
		"two":         {head + route("0.0.0.0", "10.0.0.1", "0003", 600, "0.0.0.0") + route("0.0.0.0", "192.168.1.1", "0003", 100, "0.0.0.0"), "192.168.1.1"},
		"one is down": {head + route("0.0.0.0", "10.0.0.1", "0002", 0, "0.0.0.0") + route("0.0.0.0", "192.168.1.1", "0003", 100, "0.0.0.0"), "192.168.1.1"},
		"a tunnel":    {head + route("0.0.0.0", "0.0.0.0", "0001", 0, "0.0.0.0"), ""},
		"a half":      {head + route("0.0.0.0", "10.0.0.1", "0003", 0, "128.0.0.0"), ""},
		"only home":   {head + home, ""},
		"none":        {head, ""},
		"empty":       {"", ""},
		"another form": {"a b\neth0\t00000000\tX\t0003\t0\t0\t0\t00000000\neth0\t00000000\t01010101\tX\t0\t0\t0\t00000000\n" +
			"eth0\t00000000\t01010101\t0003\t0\t0\t-\t00000000\n", ""},
	} {
		got, err := gatewayIn(strings.NewReader(c.table))
		if c.want == "" {
			if !errors.Is(err, errNoGateway) {
				t.Errorf("%s: %s, %v", name, got, err)
			}
		} else if err != nil || got.String() != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
	if _, err := gatewayIn(strings.NewReader(strings.Repeat("x", 1<<17))); err == nil || errors.Is(err, errNoGateway) {
		t.Errorf("a line without an end: %v", err)
	}
}
