package kad

import (
	"net/netip"
	"sync"

	"github.com/libp2p/go-libp2p-kbucket/peerdiversity"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// How many peers of one neighbourhood, a /24 or a /48, may be in one bucket of the
// table and in all of it.
const (
	maxPerBucket = 2
	maxPerTable  = 10
)

// diversity keeps one owner of addresses from filling a table.
type diversity struct {
	h      host.Host
	exempt func(ma.Multiaddr) bool

	mu      sync.Mutex // guards what follows
	buckets map[bucket]int
	table   map[netip.Prefix]int
	groups  map[peer.ID]netip.Prefix // of those that are counted
}

type bucket struct {
	group netip.Prefix
	cpl   int
}

func newDiversity(h host.Host, exempt func(ma.Multiaddr) bool) *diversity {
	return &diversity{h: h, exempt: exempt, buckets: make(map[bucket]int), table: make(map[netip.Prefix]int), groups: make(map[peer.ID]netip.Prefix)}
}

// group is the neighbourhood that a peer is connected from, the zero one for those
// that are exempt.
func (d *diversity) group(p peer.ID) netip.Prefix {
	for _, a := range d.PeerAddresses(p) {
		if d.exempt(a) {
			continue
		}
		raw, err := manet.ToIP(a)
		if err != nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(raw)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		bits := 24
		if ip.Is6() {
			bits = 48
		}
		g, _ := ip.Prefix(bits)
		return g
	}
	return netip.Prefix{}
}

// Allow implements peerdiversity.PeerIPGroupFilter. It is asked for each address of
// a peer; the peer counts once.
func (d *diversity) Allow(g peerdiversity.PeerGroupInfo) bool {
	group := d.group(g.Id)
	if !group.IsValid() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, counted := d.groups[g.Id]; counted {
		return true
	}
	return d.buckets[bucket{group, g.Cpl}] < maxPerBucket && d.table[group] < maxPerTable
}

// Increment implements peerdiversity.PeerIPGroupFilter.
func (d *diversity) Increment(g peerdiversity.PeerGroupInfo) {
	group := d.group(g.Id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, counted := d.groups[g.Id]; counted || !group.IsValid() {
		return
	}
	d.groups[g.Id] = group
	d.buckets[bucket{group, g.Cpl}]++
	d.table[group]++
}

// Decrement implements peerdiversity.PeerIPGroupFilter.
func (d *diversity) Decrement(g peerdiversity.PeerGroupInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	group, counted := d.groups[g.Id]
	if !counted {
		return
	}
	delete(d.groups, g.Id)
	b := bucket{group, g.Cpl}
	if d.buckets[b]--; d.buckets[b] <= 0 {
		delete(d.buckets, b)
	}
	if d.table[group]--; d.table[group] <= 0 {
		delete(d.table, group)
	}
}

// PeerAddresses implements peerdiversity.PeerIPGroupFilter: where a peer is
// connected from, not where it says that it is.
func (d *diversity) PeerAddresses(p peer.ID) []ma.Multiaddr {
	conns := d.h.Network().ConnsToPeer(p)
	addrs := make([]ma.Multiaddr, 0, len(conns))
	for _, c := range conns {
		addrs = append(addrs, c.RemoteMultiaddr())
	}
	return addrs
}
