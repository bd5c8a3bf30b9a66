package testnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Port is where HostOptions listens.
const Port = 4001

// HostOptions returns what libp2p.New needs for a host on the node at ip, and
// no more: the listen address, the transport, and off what would look for real
// interfaces, relays or a process-wide registry. Identity, security, limits and
// the rest are the caller's; QUIC cannot be had. After a crash or kill of the
// node, call it again.
func (n *Net) HostOptions(ip netip.Addr) []libp2p.Option {
	return []libp2p.Option{
		libp2p.ListenAddrs(Multiaddr(ip)),
		libp2p.Transport(n.Transport(ip)),
		libp2p.DisableMetrics(),
		libp2p.DisableRelay(),
		libp2p.DisableIdentifyAddressDiscovery(),
	}
}

// Host starts a host on the node at ip, closed at the end of the test. Its
// identity is Key's unless opts have one.
func (n *Net) Host(tb testing.TB, ip netip.Addr, opts ...libp2p.Option) host.Host {
	tb.Helper()
	h, err := n.NewHost(ip, opts...)
	if err != nil {
		tb.Fatalf("host on %s: %v", ip, err)
	}
	tb.Cleanup(func() { h.Close() })
	return h
}

// NewHost is Host for callers who close by themselves. When starting fails,
// go-libp2p leaves goroutines behind, which ends a bubble with a panic.
func (n *Net) NewHost(ip netip.Addr, opts ...libp2p.Option) (host.Host, error) {
	var given libp2p.Config
	if err := given.Apply(opts...); err != nil {
		return nil, err
	}
	all := append(n.HostOptions(ip), opts...)
	if given.PeerKey == nil {
		key, err := n.Key(ip)
		if err != nil {
			return nil, err
		}
		all = append(all, libp2p.Identity(key))
	}
	return libp2p.New(all...)
}

// Key returns the Ed25519 key that Host gives the node at ip, made from the
// net's seed: equal in every run, and good for nothing but tests.
func (n *Net) Key(ip netip.Addr) (crypto.PrivKey, error) {
	b := binary.BigEndian.AppendUint64([]byte("testnet key"), n.seed)
	sum := sha256.Sum256(append(b, ip.Unmap().AsSlice()...))
	key, _, err := crypto.GenerateEd25519Key(bytes.NewReader(sum[:]))
	if err != nil {
		return nil, fmt.Errorf("testnet: key of %s: %w", ip, err)
	}
	return key, nil
}

// Multiaddr returns the address on which hosts of the node at ip listen.
func Multiaddr(ip netip.Addr) ma.Multiaddr {
	proto := "ip4"
	if ip.Unmap().Is6() {
		proto = "ip6"
	}
	return ma.StringCast(fmt.Sprintf("/%s/%s/tcp/%d", proto, ip.Unmap(), Port))
}

// Addr returns the address and port on which hosts of the node at ip listen,
// for Dial.
func Addr(ip netip.Addr) netip.AddrPort { return netip.AddrPortFrom(ip.Unmap(), Port) }

// Info returns what another host needs to connect to h.
func Info(h host.Host) peer.AddrInfo {
	return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}
}
