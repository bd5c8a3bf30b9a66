package p2phost

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	natpmp "github.com/jackpal/go-nat-pmp"
	"github.com/libp2p/go-libp2p/core/network"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/net/nat"
	ma "github.com/multiformats/go-multiaddr"
)

// How NAT-PMP is used (RFC 6886).
const pmpLifetime = 2 * time.Minute // of a mapping that is not renewed

// pmpTimes are when it is tried, and how long a question may take, with its repetitions.
type pmpTimes struct {
	first, renew, again time.Duration // again: after a router that did not answer
	ask, release        time.Duration
}

var defaultPMP = pmpTimes{
	first: nat.DiscoveryTimeout + time.Second, // libp2p knows by then
	renew: pmpLifetime / 3, again: 5 * time.Minute,
	ask: 2 * time.Second, release: 500 * time.Millisecond,
}

// portMapper has the router forward the ports that are listened on. libp2p does it by
// UPnP. Where that finds nothing portMapper tries NAT-PMP, which libp2p can do but does
// not on Linux, as of version 0.52: to find the router it asks for the route to 0.0.0.0,
// and go-netroute 0.4 refuses. It owns one goroutine, until Close.
type portMapper struct {
	libp2p  basichost.NATManager
	network interface{ ListenAddresses() []ma.Multiaddr }
	gateway func() (netip.Addr, error)
	times   pmpTimes

	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex              // guards mapped
	mapped map[port]netip.AddrPort // what the router forwards
}

// port is one that is listened on.
type port struct {
	protocol string // tcp or udp
	number   uint16
}

func newPortMapper(n network.Network) basichost.NATManager {
	m := &portMapper{
		libp2p: basichost.NewNATManager(n), network: n, gateway: defaultGateway,
		times: defaultPMP,
	}
	m.start()
	return m
}

// HasDiscoveredNAT implements basichost.NATManager.
func (m *portMapper) HasDiscoveredNAT() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mapped) > 0 || m.libp2p.HasDiscoveredNAT()
}

// GetMapping implements basichost.NATManager: it is the address outside of one that is
// listened on, nil for none.
func (m *portMapper) GetMapping(a ma.Multiaddr) ma.Multiaddr {
	if out := m.libp2p.GetMapping(a); out != nil {
		return out
	}
	p, ok := mappable(a)
	m.mu.Lock()
	outside, found := m.mapped[p]
	m.mu.Unlock()
	if !ok || !found {
		return nil
	}
	out, err := ma.NewMultiaddr(fmt.Sprintf("/ip4/%s/%s/%d", outside.Addr(), p.protocol, outside.Port()))
	if err != nil {
		return nil
	}
	return append(out, a[2:]...)
}

// mappable gives the port of an address that a router can forward to, as NAT-PMP knows
// IPv4 alone.
func mappable(a ma.Multiaddr) (p port, ok bool) {
	if len(a) < 2 || a[0].Protocol().Code != ma.P_IP4 {
		return p, false
	}
	if ip := net.IP(a[0].RawValue()); !ip.IsGlobalUnicast() && !ip.IsUnspecified() {
		return p, false
	}
	if c := a[1].Protocol().Code; c != ma.P_TCP && c != ma.P_UDP {
		return p, false
	}
	n, err := strconv.ParseUint(a[1].Value(), 10, 16)
	return port{a[1].Protocol().Name, uint16(n)}, err == nil && n != 0
}

// renew has the router forward all ports for a while, and tells whether it forwards any.
func (m *portMapper) renew(ctx context.Context) bool {
	mapped := m.ask(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil { // cut short: the others are still to be taken away
		maps.Copy(mapped, m.mapped)
	}
	m.mapped = mapped
	return len(mapped) > 0
}

// ask maps each port that is listened on, as far as the router does it.
func (m *portMapper) ask(ctx context.Context) (mapped map[port]netip.AddrPort) {
	mapped = make(map[port]netip.AddrPort)
	router, err := m.gateway()
	if err != nil {
		return mapped
	}
	client := natpmp.NewClientWithTimeout(router.AsSlice(), m.times.ask)
	outside, err := client.GetExternalAddress()
	if err != nil {
		return mapped
	}
	ip := netip.AddrFrom4(outside.ExternalIPAddress)
	if ip.IsUnspecified() {
		return mapped // its line is down
	}
	for _, a := range m.network.ListenAddresses() {
		p, ok := mappable(a)
		if _, double := mapped[p]; !ok || double {
			continue
		}
		if ctx.Err() != nil {
			break // each question may take a while
		}
		got, err := client.AddPortMapping(p.protocol, int(p.number), int(p.number), int(pmpLifetime/time.Second))
		if err == nil && got.MappedExternalPort != 0 {
			mapped[p] = netip.AddrPortFrom(ip, got.MappedExternalPort)
		}
	}
	return mapped
}

// release has the router forward no port any longer.
func (m *portMapper) release() {
	m.mu.Lock()
	mapped := m.mapped
	m.mapped = nil
	m.mu.Unlock()
	router, err := m.gateway()
	if err != nil {
		return
	}
	client := natpmp.NewClientWithTimeout(router.AsSlice(), m.times.release)
	for p := range mapped {
		if _, err := client.AddPortMapping(p.protocol, int(p.number), 0, 0); err != nil {
			return // they end by themselves
		}
	}
}

func (m *portMapper) run(ctx context.Context) {
	defer close(m.done)
	defer m.release()
	timer := time.NewTimer(m.times.first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := m.times.again
		if !m.libp2p.HasDiscoveredNAT() && m.renew(ctx) {
			wait = m.times.renew
		}
		timer.Reset(wait)
	}
}

func (m *portMapper) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done = cancel, make(chan struct{})
	go m.run(ctx)
}

// Close implements basichost.NATManager. It takes the mappings away, and some seconds
// where the router does not answer.
func (m *portMapper) Close() error {
	m.cancel()
	<-m.done
	return m.libp2p.Close()
}
