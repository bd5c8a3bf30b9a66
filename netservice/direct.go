package netservice

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/gossip"
)

// directPeers are those that gossip sends every message: the reserved ones. They
// may be named before there is an engine.
type directPeers struct {
	mu     sync.Mutex // guards the fields below
	peers  map[peer.ID]peer.AddrInfo
	engine *gossip.Engine // nil before the start
}

func newDirectPeers(ps []peer.AddrInfo) *directPeers {
	d := &directPeers{peers: make(map[peer.ID]peer.AddrInfo, len(ps))}
	for _, p := range ps {
		d.peers[p.ID] = p
	}
	return d
}

// attach tells the engine of all, and of every change from then on.
func (d *directPeers) attach(e *gossip.Engine) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.engine = e
	for _, p := range d.peers {
		if err := e.AddDirect(p); err != nil {
			return broadcastError(err)
		}
	}
	return nil
}

func (d *directPeers) add(p peer.AddrInfo) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peers[p.ID] = p
	if d.engine == nil {
		return nil
	}
	return broadcastError(d.engine.AddDirect(p))
}

func (d *directPeers) remove(p peer.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.peers, p)
	if d.engine == nil {
		return nil
	}
	return broadcastError(d.engine.RemoveDirect(p))
}
