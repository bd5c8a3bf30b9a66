package testnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Transport is the libp2p transport of one node for /ip4/.../tcp/... and
// /ip6/.../tcp/... addresses. It dies with a Crash or Kill of its node.
type Transport struct {
	net      *Net
	node     *node
	epoch    uint64
	upgrader transport.Upgrader
	rcmgr    network.ResourceManager
}

var _ transport.Transport = (*Transport)(nil)

// Transport returns the constructor that libp2p.Transport wants, for hosts on
// the node at ip. It belongs to the process that runs there now: after a crash
// or kill, a new host takes a new one.
func (n *Net) Transport(ip netip.Addr) func(transport.Upgrader, network.ResourceManager) (*Transport, error) {
	nd := n.node(ip)
	epoch := nd.epoch.Load()
	return func(u transport.Upgrader, rcmgr network.ResourceManager) (*Transport, error) {
		if rcmgr == nil {
			rcmgr = &network.NullResourceManager{}
		}
		return &Transport{net: n, node: nd, epoch: epoch, upgrader: u, rcmgr: rcmgr}, nil
	}
}

// Dial connects and upgrades.
func (t *Transport) Dial(ctx context.Context, raddr ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	scope, err := t.rcmgr.OpenConnection(network.DirOutbound, true, raddr)
	if err != nil {
		return nil, err
	}
	c, err := t.dial(ctx, raddr, p, scope)
	if err != nil {
		scope.Done()
		return nil, err
	}
	return c, nil
}

func (t *Transport) dial(ctx context.Context, raddr ma.Multiaddr, p peer.ID, scope network.ConnManagementScope) (transport.CapableConn, error) {
	if err := scope.SetPeer(p); err != nil {
		return nil, err
	}
	dst, err := addrPort(raddr)
	if err != nil {
		return nil, err
	}
	raw, err := t.net.dial(ctx, t.node, t.epoch, dst)
	if err != nil {
		return nil, err
	}
	if err := raw.SetLinger(0); err != nil { // as libp2p's TCP does
		return nil, err
	}
	c, err := manet.WrapNetConn(raw)
	if err != nil {
		raw.Reset()
		return nil, err
	}
	dir := network.DirOutbound
	if simultaneous, isClient, _ := network.GetSimultaneousConnect(ctx); simultaneous && !isClient {
		dir = network.DirInbound
	}
	return t.upgrader.Upgrade(ctx, t, c, dir, p, scope)
}

// CanDial reports whether addr is an IP address and a TCP port, and no more.
func (t *Transport) CanDial(addr ma.Multiaddr) bool {
	ps := addr.Protocols()
	return len(ps) == 2 && (ps[0].Code == ma.P_IP4 || ps[0].Code == ma.P_IP6) && ps[1].Code == ma.P_TCP
}

// Listen listens on the node's own address; an unspecified one stands for it.
func (t *Transport) Listen(laddr ma.Multiaddr) (transport.Listener, error) {
	at, err := addrPort(laddr)
	if err != nil {
		return nil, err
	}
	if a := at.Addr(); a != t.node.addr && !a.IsUnspecified() {
		return nil, opError("listen", netip.AddrPort{}, at, ErrForeignAddress)
	}
	l, err := t.net.listen(t.node, t.epoch, at.Port())
	if err != nil {
		return nil, err
	}
	ml, err := manet.WrapNetListener(lingering{l})
	if err != nil {
		l.Close()
		return nil, err
	}
	return t.upgrader.UpgradeGatedMaListener(t, t.upgrader.GateMaListener(ml)), nil
}

// Protocols returns TCP.
func (t *Transport) Protocols() []int { return []int{ma.P_TCP} }

// Proxy returns false.
func (t *Transport) Proxy() bool { return false }

// String names the transport in libp2p's logs.
func (t *Transport) String() string { return "testnet TCP of " + t.node.addr.String() }

// lingering sets SO_LINGER to zero on what it accepts, as libp2p's TCP does.
type lingering struct{ *Listener }

func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tc, ok := c.(*Conn); ok {
		tc.SetLinger(0)
	}
	return c, nil
}

func addrPort(addr ma.Multiaddr) (netip.AddrPort, error) {
	na, err := manet.ToNetAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ta, ok := na.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("testnet: %s is not a TCP address", addr)
	}
	ap := ta.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
