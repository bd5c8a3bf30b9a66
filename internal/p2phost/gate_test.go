package p2phost_test

import (
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// gate refuses at one stage and remembers what it saw.
type gate struct {
	mu     sync.Mutex
	refuse string
	seen   string
}

func (g *gate) set(refuse string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse = refuse
}

func (g *gate) allow(stage string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse != stage
}

func (g *gate) last() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

func (g *gate) AllowDial(peer.ID) bool        { return g.allow("dial") }
func (g *gate) AllowAccept(ma.Multiaddr) bool { return g.allow("accept") }

func (g *gate) AllowPeer(dir network.Direction, p peer.ID, remote ma.Multiaddr) bool {
	if dir == network.DirInbound {
		ip, _ := manet.ToIP(remote)
		g.mu.Lock()
		g.seen = fmt.Sprintf("inbound %s %s", p, ip)
		g.mu.Unlock()
	}
	return g.allow("peer")
}
