package peers

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// attemptLimiter limits connection attempts by address and by neighbourhood.
type attemptLimiter struct {
	mu sync.Mutex // guards what follows
	addrBuckets
	nets []book.Ban // networks that are banned
}

func newAttemptLimiter() *attemptLimiter {
	return &attemptLimiter{addrBuckets: newAddrBuckets(addrRate, subnetRate)}
}

func (g *attemptLimiter) allow(ip netip.Addr, now time.Time) bool {
	if ip.Unmap().IsLoopback() {
		return true // many nodes share it in development
	}
	addr, subnet := neighbourhoods(ip)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.nets {
		if x.Prefix.Contains(ip.Unmap()) && now.Before(x.Until) {
			return false
		}
	}
	one, _ := g.addrs.get(addr)
	ok := one.Take(g.perAddr, now, 1)
	g.addrs.put(addr, one)
	if !ok {
		return false // one host that floods does not use up its neighbours' share
	}
	many, _ := g.subnets.get(subnet)
	ok = many.Take(g.perSubnet, now, 1)
	g.subnets.put(subnet, many)
	return ok
}

func (g *attemptLimiter) setNets(nets []book.Ban) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nets = slices.Clone(nets)
}

func (g *attemptLimiter) sweep(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addrBuckets.sweep(now)
}

// AllowDial tells whether the host may dial a peer: not itself, none that is
// banned, none that is avoided for a permanent reason.
func (m *Manager) AllowDial(p peer.ID) bool {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	_, banned := m.bannedLocked(p, now)
	a, avoided := m.avoidedLocked(p, now)
	return p != m.cfg.Self && !banned && !(avoided && a.reason.Permanent())
}

// AllowAccept tells whether the host may accept a connection from an address:
// attempts are limited per address and per neighbourhood. An address without
// an IP, such as a relayed one, is let through.
func (m *Manager) AllowAccept(remote ma.Multiaddr) bool {
	ip, err := manet.ToIP(remote)
	if err != nil {
		return true
	}
	addr, ok := netip.AddrFromSlice(ip)
	return !ok || m.attempts.allow(addr, time.Now())
}

// mayHelloLocked takes one of a peer's hellos.
func (m *Manager) mayHelloLocked(p peer.ID, now time.Time) bool {
	b, _ := m.hellos.get(p)
	ok := b.Take(helloRate, now, 1)
	m.hellos.put(p, b)
	return ok
}

// AllowPeer tells whether a connection may stand whose peer has proven its ID:
// not when the peer is banned. The maximum of peers is left to the handshake,
// which can say why.
func (m *Manager) AllowPeer(_ network.Direction, p peer.ID, _ ma.Multiaddr) bool {
	_, banned := m.Banned(p)
	return !banned && p != m.cfg.Self
}
