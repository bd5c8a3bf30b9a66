package netservice

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/peers"
)

// namedPeers gives and takes the roles of the peers that the operator names, by
// configuration or by a call. Package peers knows who has which; gossip hears of the
// reserved ones, which it sends every message.
type namedPeers struct {
	peers *peers.Manager

	mu     sync.Mutex     // held over a change, so that gossip hears of them in their order
	gossip *gossip.Engine // nil before the start
}

func newNamedPeers(m *peers.Manager, p parsed) *namedPeers {
	l := &namedPeers{peers: m}
	for r, list := range map[peers.Role][]peer.AddrInfo{peers.RoleBoot: p.bootstrap, peers.RoleStatic: p.static, peers.RoleReserved: p.reserved} {
		for _, ai := range list {
			m.Name(ai, r) // the one reason against it is that it is this node itself
		}
	}
	return l
}

// attach tells gossip of all reserved peers, and of every change from then on.
func (l *namedPeers) attach(e *gossip.Engine) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gossip = e
	for _, p := range l.peers.Named(peers.RoleReserved) {
		if err := e.SetDirect(p, true); err != nil {
			return broadcastError(err)
		}
	}
	return nil
}

// add gives a peer a role.
func (l *namedPeers) add(r peers.Role, ai peer.AddrInfo) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if why := DisconnectReason(l.peers.Name(ai, r)); why != ReasonNone {
		return why
	}
	return l.told(r, ai.ID, true)
}

// remove takes a role from a peer. Its session is left alone.
func (l *namedPeers) remove(r peers.Role, p peer.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers.Unname(p, r)
	return l.told(r, p, false)
}

func (l *namedPeers) told(r peers.Role, p peer.ID, on bool) error {
	if r != peers.RoleReserved || l.gossip == nil {
		return nil
	}
	return broadcastError(l.gossip.SetDirect(p, on))
}
