package p2p

import (
	"crypto/rand"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// protector keeps the connection manager from trimming peers with running
// streams. Its tag is its own, so that two P2P on one host do not unprotect
// each other's peers.
type protector struct {
	cm  connmgr.ConnManager // may be nil
	tag string
}

func newProtector(cm connmgr.ConnManager) protector {
	return protector{cm, "nebnet-tunnel-" + rand.Text()[:8]}
}

func (p protector) hold(id peer.ID) {
	if p.cm != nil {
		p.cm.Protect(id, p.tag)
	}
}

func (p protector) release(id peer.ID) {
	if p.cm != nil {
		p.cm.Unprotect(id, p.tag)
	}
}

// tunnelAddrs are the addresses that tunnels were given, for as long as they live.
// Whatever dials their peers uses them: a peerstore may forget an address meanwhile.
type tunnelAddrs struct {
	mu sync.Mutex // guards of
	of map[peer.ID][]ma.Multiaddr
}

func (t *tunnelAddrs) add(p peer.ID, addrs []ma.Multiaddr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[p] = append(slices.Clip(t.of[p]), addrs...)
}

// remove takes one of each off again.
func (t *tunnelAddrs) remove(p peer.ID, addrs []ma.Multiaddr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := slices.Clone(t.of[p])
	for _, a := range addrs {
		if i := slices.IndexFunc(left, a.Equal); i >= 0 {
			left = slices.Delete(left, i, i+1)
		}
	}
	if t.of[p] = left; len(left) == 0 {
		delete(t.of, p)
	}
}

func (t *tunnelAddrs) list(p peer.ID) []ma.Multiaddr {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of[p]
}
