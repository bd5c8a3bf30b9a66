package p2phost

import (
	"fmt"
	"io"
	"net/netip"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
)

// handshakes keeps the inbound connections whose peer is not known yet, so
// that silent sockets cannot fill the pool that everybody has to pass: a
// network has a share of it, and when the pool runs full all the same, the
// oldest connection of the address with the most of them is closed. An honest
// peer is through in a few round trips and is not the oldest for long.
type handshakes struct {
	high    int // evict from here on
	most    int // of QUIC, which cannot be evicted
	perIP   int
	perNet  int
	exempt  []netip.Prefix // no share: loopback, private
	trusted []netip.Prefix // no share either, and evicted last

	mu      sync.Mutex // guards all below
	seq     uint64
	offered map[string]io.Closer // accepted, not begun yet; by remote address
	open    map[*handshake]struct{}
	quic    int // of open
	byIP    map[netip.Prefix]int
	byNet   map[netip.Prefix]int
}

// handshake is one inbound connection until its peer is known.
type handshake struct {
	owner    *handshakes
	seq      uint64
	one, net netip.Prefix // zero when the address has no IP
	closer   io.Closer    // nil when the transport cannot close it, as QUIC
	quic     bool
	trusted  bool
}

func newHandshakes(c Config) *handshakes {
	trusted, _ := trustedNets(c)
	pool := handshakePool(c.MaxPeers)
	return &handshakes{
		high:    max(min(pool, int(limits(c).Transient.FD))*3/4, 1),
		most:    pool * 3 / 4,
		perIP:   min(handshakesPerIP, count(c.ConnsPerIP)),
		perNet:  min(handshakesPerSubnet, count(c.ConnsPerSubnet)),
		exempt:  exempt(c),
		trusted: trusted,
		offered: make(map[string]io.Closer),
		open:    make(map[*handshake]struct{}),
		byIP:    make(map[netip.Prefix]int),
		byNet:   make(map[netip.Prefix]int),
	}
}

// offer hands over the means to close a connection that has just been accepted
// and that begin will be called for next.
func (hs *handshakes) offer(remote ma.Multiaddr, c io.Closer) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.offered[string(remote.Bytes())] = c
}

// begin admits an inbound connection, or says that its network has too many.
func (hs *handshakes) begin(remote ma.Multiaddr) (*handshake, error) {
	h := &handshake{owner: hs}
	if _, err := remote.ValueForProtocol(ma.P_QUIC_V1); err == nil {
		h.quic = true
	}
	ip, ok := addrIP(remote)
	if ok {
		one, many := ip4One, ip4Many
		if ip.Is6() {
			one, many = ip6One, ip6Many
		}
		h.one, _ = ip.Prefix(one)
		h.net, _ = ip.Prefix(many)
		h.trusted = within(ip, hs.trusted)
	}
	victim, err := hs.add(h, ok && !h.trusted && !within(ip, hs.exempt), string(remote.Bytes()))
	if victim != nil {
		_ = victim.Close() // the handshake fails, and its scope is done
	}
	return h, err
}

func (hs *handshakes) add(h *handshake, limited bool, key string) (victim io.Closer, err error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.closer = hs.offered[key]
	delete(hs.offered, key)
	if limited && hs.byIP[h.one] >= hs.perIP {
		return nil, fmt.Errorf("%w: %s", ErrHandshakes, h.one)
	}
	if limited && hs.byNet[h.net] >= hs.perNet {
		return nil, fmt.Errorf("%w: %s", ErrHandshakes, h.net)
	}
	switch {
	case h.quic && hs.quic >= hs.most && !h.trusted:
		return nil, ErrHandshakes
	case h.quic:
		hs.quic++
	case len(hs.open)-hs.quic >= hs.high:
		victim = hs.evictLocked()
	}
	hs.seq++
	h.seq = hs.seq
	hs.open[h] = struct{}{}
	hs.byIP[h.one]++
	hs.byNet[h.net]++
	return victim, nil
}

// suspicious tells whether so many QUIC handshakes are half open that a newcomer
// has to prove its address first.
func (hs *handshakes) suspicious() bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.quic >= min(retryFrom, hs.most)
}

// evictLocked takes the oldest handshake of the address that has the most; one
// of a trusted address only when there is no other, as when the whole network
// runs on one machine.
func (hs *handshakes) evictLocked() io.Closer {
	var worst *handshake
	for h := range hs.open {
		if h.closer != nil && (worst == nil || hs.worseLocked(h, worst)) {
			worst = h
		}
	}
	if worst == nil {
		return nil
	}
	hs.removeLocked(worst)
	return worst.closer
}

func (hs *handshakes) worseLocked(a, b *handshake) bool {
	if a.trusted != b.trusted {
		return b.trusted
	}
	if n, m := hs.byIP[a.one], hs.byIP[b.one]; n != m {
		return n > m
	}
	return a.seq < b.seq
}

// end is called once the peer is known or the connection is gone. More calls,
// and calls on nil, do nothing.
func (h *handshake) end() {
	if h == nil {
		return
	}
	h.owner.mu.Lock()
	defer h.owner.mu.Unlock()
	h.owner.removeLocked(h)
}

func (hs *handshakes) removeLocked(h *handshake) {
	if _, ok := hs.open[h]; !ok {
		return
	}
	delete(hs.open, h)
	if h.quic {
		hs.quic--
	}
	drop(hs.byIP, h.one)
	drop(hs.byNet, h.net)
}

func drop(m map[netip.Prefix]int, k netip.Prefix) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}
