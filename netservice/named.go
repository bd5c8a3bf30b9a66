package netservice

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// role is why the operator named a peer; a peer may have several.
type role uint8

const (
	roleBoot role = 1 << iota
	roleStatic
	roleReserved
)

// namedPeers are the peers that the operator named, by configuration or by a call,
// and why: one that is named twice is still there when one name is taken back.
type namedPeers struct {
	mu    sync.Mutex // guards what follows
	roles map[peer.ID]role
	first []named // of the configuration, until start
}

type named struct {
	role role
	info peer.AddrInfo
}

func newNamedPeers(p parsed) *namedPeers {
	l := &namedPeers{roles: make(map[peer.ID]role)}
	for r, list := range map[role][]peer.AddrInfo{roleBoot: p.bootstrap, roleStatic: p.static, roleReserved: p.reserved} {
		for _, ai := range list {
			l.first = append(l.first, named{r, ai})
		}
	}
	return l
}

// start tells the engines of the peers of the configuration.
func (l *namedPeers) start(n *Node) {
	for _, x := range l.first {
		_ = l.add(n, x.role, x.info) // the one reason against it is that it is this node itself
	}
}

// add gives a peer a role.
func (l *namedPeers) add(n *Node, r role, ai peer.AddrInfo) error {
	if r == roleReserved {
		n.peers.Reserve(ai.ID)
	}
	if why := DisconnectReason(n.peers.AddPersistent(ai)); why != ReasonNone {
		return why
	}
	l.mu.Lock()
	l.roles[ai.ID] |= r
	l.mu.Unlock()
	if r == roleReserved {
		return n.direct.add(ai)
	}
	return nil
}

// remove takes a role from a peer. Its session is left alone.
func (l *namedPeers) remove(n *Node, r role, p peer.ID) error {
	l.mu.Lock()
	left := l.roles[p] &^ r
	if left == 0 {
		delete(l.roles, p)
	} else {
		l.roles[p] = left
	}
	l.mu.Unlock()
	if left == 0 {
		n.peers.RemovePersistent(p)
	}
	if r == roleReserved {
		n.peers.Unreserve(p)
		return n.direct.remove(p)
	}
	return nil
}
