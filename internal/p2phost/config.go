package p2phost

import (
	"crypto/ed25519"
	"slices"
	"unicode"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// Defaults of Config.
const (
	DefaultUserAgent      = "nebnet"
	DefaultMaxPeers       = 50
	DefaultStreamsPerPeer = 1200
	DefaultConnsPerIP     = 64
	DefaultConnsPerSubnet = 256

	maxUserAgent = 128 // bytes
	pskSize      = 32  // bytes
	minMemory    = 32 << 20
)

// Gate lets the owner of the host refuse connections. Its methods are called
// on libp2p's goroutines: they must return at once and must not call the host.
type Gate interface {
	// AllowDial is asked before a peer's addresses are looked at.
	AllowDial(peer.ID) bool
	// AllowAccept is asked before anything is read from a new connection.
	AllowAccept(remote ma.Multiaddr) bool
	// AllowPeer is asked when the peer's identity is proven.
	AllowPeer(dir network.Direction, p peer.ID, remote ma.Multiaddr) bool
}

// Config describes a host. Key is required, all else is optional.
type Config struct {
	Key crypto.PrivKey // required, Ed25519

	// Listen lists the addresses to listen on: /ip4 or /ip6 with /tcp/PORT or
	// /udp/PORT/quic-v1; port 0 takes a free one. None: the host only dials.
	Listen []ma.Multiaddr
	// Announce, when not empty, is told to peers instead of the addresses
	// found (a public name, the outside of a NAT).
	Announce []ma.Multiaddr
	// PSK makes the host part of a private network: 32 bytes that all its
	// nodes know. TCP only.
	PSK pnet.PSK
	// UserAgent is what identify tells peers, at most 128 printable bytes.
	// Default "nebnet".
	UserAgent string

	// MaxPeers is the number of peers that the limits are made for. It refuses
	// nobody by itself. Default 50.
	MaxPeers int
	// StreamsPerPeer bounds the streams of one peer, each way. Default 1,200.
	// A QUIC connection carries at most 256 at once, whatever is set here.
	StreamsPerPeer int
	// ConnsPerIP and ConnsPerSubnet bound the connections with one IPv4 address
	// (IPv6 /56) and one IPv4 /24 (IPv6 /48). Defaults 64 and 256; -1: no
	// bound. Loopback addresses are exempt, private ones too unless NoPrivate.
	ConnsPerIP, ConnsPerSubnet int
	// Memory is what the limits may hand out, in bytes, flow-control windows
	// (256 KiB a stream and more) above all. 0: three quarters of what the
	// host, its cgroup and GOMEMLIMIT allow. At least 32 MiB. One peer gets a
	// quarter of it at most.
	Memory int64
	// FDs is the number of descriptors for connections. 0: half of
	// RLIMIT_NOFILE.
	FDs int

	// NoPrivate is for production: loopback, private and other special
	// addresses are neither dialled nor announced.
	NoPrivate bool
	// Gate, when set, is consulted about every connection.
	Gate Gate
	// Crowded, when set, is told of each connection that was refused because
	// its peer has as many as it may. Like those of Gate, it is called on
	// libp2p's goroutines, must return at once and must not call the host.
	Crowded func(p peer.ID, remote ma.Multiaddr)
	// Trusted addresses (boot nodes, reserved peers) have a reserve of their
	// own when the limits are reached. Those without an IP address are ignored.
	Trusted []ma.Multiaddr

	// What is done to be reached behind a NAT, and for others to be. All of it is
	// off unless asked for. With AutoNAT the host asks peers whether it is public,
	// and answers them. Without, it takes itself for public when it has
	// RelayService, and for private when it has Relays.
	AutoNAT      bool
	PortMapping  bool // by UPnP or NAT-PMP
	RelayClient  bool // dials, and is dialled, through relays
	HolePunching bool
	// Punches, when set, is given what makes a session through a relay direct, of
	// HolePunching: it punches with a peer that has dialled this node through one, blocks
	// until that has come to an end, and for ever before the host serves the protocol.
	Punches      func(direct func(peer.ID) error)
	RelayService bool            // carries others' traffic, without limits of time or bytes
	Relays       []peer.AddrInfo // to be reached through
	// RelaysFrom, when set, is closed when the relays may be used. Default: at once.
	RelaysFrom <-chan struct{}
	// RelayAllow says who may use the relay service. Default: everybody. It is
	// called on a goroutine of its stream, and may wait for as long as the peer does,
	// a minute, but must not call the host.
	RelayAllow func(peer.ID) bool

	// Options are appended last.
	Options []libp2p.Option
	// SkipSockets leaves TCP and QUIC out: the transport comes with Options.
	SkipSockets bool

	Obs *obs.Obs // default: discard
	// Metrics takes libp2p's own metrics. Default: nobody does.
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.UserAgent == "" {
		c.UserAgent = DefaultUserAgent
	}
	def(&c.MaxPeers, DefaultMaxPeers)
	def(&c.StreamsPerPeer, DefaultStreamsPerPeer)
	def(&c.ConnsPerIP, DefaultConnsPerIP)
	def(&c.ConnsPerSubnet, DefaultConnsPerSubnet)
	if c.Memory == 0 {
		c.Memory = max(availableMemory()/4*3, 4*minMemory)
	}
	if c.FDs == 0 {
		c.FDs = max(descriptors()/2, 256)
	}
	c.Obs = obs.Or(c.Obs)
	return c
}

// Validate reports every mistake at once, each as a *setting.Error.
func (c Config) Validate() error {
	var check setting.Check
	bad := check.Bad
	switch {
	case c.Key == nil:
		bad("Key", "is required")
	case c.Key.Type() != crypto.Ed25519:
		bad("Key", "is %s, want Ed25519", c.Key.Type())
	default:
		// A key without a body would fail deep inside libp2p.
		if raw, err := c.Key.Raw(); err != nil || len(raw) != ed25519.PrivateKeySize {
			bad("Key", "is not usable")
		}
	}
	if len(c.PSK) != 0 && len(c.PSK) != pskSize {
		bad("PSK", "has %d bytes, want %d", len(c.PSK), pskSize)
	}
	if len(c.UserAgent) > maxUserAgent || !printable(c.UserAgent) {
		bad("UserAgent", "wants at most %d printable bytes", maxUserAgent)
	}
	setting.AtLeast(&check, "MaxPeers", c.MaxPeers, 0)
	setting.AtLeast(&check, "StreamsPerPeer", c.StreamsPerPeer, 0)
	setting.AtLeast(&check, "FDs", c.FDs, 0)
	setting.AtLeast(&check, "ConnsPerIP", c.ConnsPerIP, -1)
	setting.AtLeast(&check, "ConnsPerSubnet", c.ConnsPerSubnet, -1)
	if c.Memory != 0 && c.Memory < minMemory {
		bad("Memory", "is %d, want at least %d", c.Memory, minMemory)
	}
	c.validateAddrs(bad)
	return check.Err()
}

// ValidateAddrs is the part of Validate that is about addresses.
func (c Config) ValidateAddrs() error {
	var check setting.Check
	c.validateAddrs(check.Bad)
	return check.Err()
}

// MayDial tells whether the host may come to dial an address: whether the filter
// of its addresses lets it through or, for a name, one that it may lead to.
func (c Config) MayDial(a ma.Multiaddr) bool { return addrFilter{c.NoPrivate}.mayDial(a) }

func (c Config) validateAddrs(bad func(field, format string, args ...any)) {
	for i, a := range c.Listen {
		switch {
		case len(a) == 0:
			bad("Listen", "has an empty address")
		case slices.ContainsFunc(c.Listen[:i], a.Equal) && !anyPort(a):
			bad("Listen", "has %s twice", a)
		case c.SkipSockets:
		case isQUIC(a) && len(c.PSK) != 0:
			bad("Listen", "%s: %w", a, ErrPSKTransport)
		case !isQUIC(a) && !isTCP(a):
			bad("Listen", "%s: want /ip4 or /ip6 with /tcp/PORT or /udp/PORT/quic-v1", a)
		}
	}
	filter := addrFilter{c.NoPrivate}
	for _, a := range c.Announce {
		switch {
		case len(a) == 0:
			bad("Announce", "has an empty address")
		case !filter.announce(a):
			bad("Announce", "%s is an address that this configuration filters out", a)
		}
	}
	for _, a := range c.Trusted {
		if len(a) == 0 {
			bad("Trusted", "has an empty address")
		}
	}
}

func printable(s string) bool {
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
