package p2p

import (
	"crypto/rand"

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

func (p protector) protect(id peer.ID) {
	if p.cm != nil {
		p.cm.Protect(id, p.tag)
	}
}

func (p protector) release(id peer.ID) {
	if p.cm != nil {
		p.cm.Unprotect(id, p.tag)
	}
}

// addrsOf are the addresses that the tunnels to a peer were given. Whatever dials the
// peer uses them: a peerstore may have forgotten them meanwhile.
func (p *P2P) addrsOf(id peer.ID) (addrs []ma.Multiaddr) {
	for _, l := range p.Listeners.List() {
		if l.Peer == id {
			addrs = append(addrs, l.Addrs...)
		}
	}
	return addrs
}
