package netservice

import (
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Discovery is how a node finds peers beside Config.Bootstrap, Config.Static,
// peer exchange and what it remembers. The zero value is none of it.
type Discovery struct {
	// MDNS finds nodes of the same chain on the local network, by multicast DNS.
	MDNS bool `yaml:"mdns" json:"mdns" toml:"mdns" mapstructure:"mdns"`
	// Kademlia takes part in a distributed hash table of the chain's own nodes.
	Kademlia bool `yaml:"kademlia" json:"kademlia" toml:"kademlia" mapstructure:"kademlia"`
	// KademliaPrefix joins the hash table of another network, such as "/ipfs", in
	// place of the chain's own: nodes of the chain announce themselves there and
	// find each other by that. Its nodes keep their connections without being
	// peers. Default: empty, the chain's own.
	KademliaPrefix string `yaml:"kademlia_prefix" json:"kademlia_prefix" toml:"kademlia_prefix" mapstructure:"kademlia_prefix"`
	// KademliaPeers is the full multiaddrs of nodes of that other network to begin
	// with. Required with KademliaPrefix.
	KademliaPeers []string `yaml:"kademlia_peers" json:"kademlia_peers" toml:"kademlia_peers" mapstructure:"kademlia_peers"`
	// KademliaMode is "server" for a node that answers others, "client" for one
	// that does not, or "auto": server unless the node is found to be private.
	// Default: "auto".
	KademliaMode string `yaml:"kademlia_mode" json:"kademlia_mode" toml:"kademlia_mode" mapstructure:"kademlia_mode"`
}

// Reachability is what a node does to be reached behind a NAT or firewall, and
// for others to be. All of it is off unless asked for.
type Reachability struct {
	// AutoNAT asks peers whether this node can be reached from outside, and answers
	// the same question of theirs. Stats.Reachability tells what came of it. libp2p
	// registers counters of it with Prometheus' process-wide registry.
	AutoNAT bool `yaml:"autonat" json:"autonat" toml:"autonat" mapstructure:"autonat"`
	// PortMapping asks the router to forward the ports listened on, by UPnP or, where
	// that finds nothing within 11 s, by NAT-PMP (IPv4). The router forwards them for
	// two minutes after the node has died.
	PortMapping bool `yaml:"port_mapping" json:"port_mapping" toml:"port_mapping" mapstructure:"port_mapping"`
	// Relays is the full multiaddrs of relays through which a private node can be
	// reached. Default: none.
	Relays []string `yaml:"relays" json:"relays" toml:"relays" mapstructure:"relays"`
	// RelayClient lets the node dial, and be dialled, through relays. Of peers that
	// others tell of, it dials those behind a relay that is a peer of it as well.
	RelayClient bool `yaml:"relay_client" json:"relay_client" toml:"relay_client" mapstructure:"relay_client"`
	// RelayService carries the traffic of others, without limits of time or bytes,
	// so that sessions work over it. Only for nodes with a public address.
	RelayService bool `yaml:"relay_service" json:"relay_service" toml:"relay_service" mapstructure:"relay_service"`
	// HolePunching makes a direct connection beside one through a relay where the
	// NATs let it, over QUIC; the session moves to it, and nothing queued is lost.
	// Requests under way fail as at the end of a session. A punch is tried when the
	// connection through the relay is made, and again while the session stays behind it:
	// after half a minute to a minute, then at waits that double up to an hour, and
	// within some minutes of a change of the addresses of either. It needs RelayClient.
	HolePunching bool `yaml:"hole_punching" json:"hole_punching" toml:"hole_punching" mapstructure:"hole_punching"`
}

// Modes of Discovery.KademliaMode.
const (
	KademliaAuto   = "auto"
	KademliaServer = "server"
	KademliaClient = "client"
)

// peerLists are the peers that a Config names.
type peerLists struct {
	static        []peer.AddrInfo
	relays        []peer.AddrInfo
	kademliaPeers []peer.AddrInfo
	// names are entries of Bootstrap without a peer ID, to be looked up.
	names []ma.Multiaddr
}

// parsePeerLists parses what this file adds to Config, and Bootstrap apart from
// full addresses.
func (c Config) parsePeerLists(bad badFunc) (l peerLists) {
	_, l.names = splitBootstrap(c.Bootstrap)
	l.static = parsePeers("Static", c.Static, bad)
	for _, ai := range l.static {
		if len(ai.Addrs) == 0 {
			bad("Static", "%s has no address to dial", ai.ID)
		}
	}
	l.relays = parsePeers("Reachability.Relays", c.Reachability.Relays, bad)
	l.kademliaPeers = parsePeers("Discovery.KademliaPeers", c.Discovery.KademliaPeers, bad)
	d, r := c.Discovery, c.Reachability
	switch d.KademliaMode {
	case "", KademliaAuto, KademliaServer, KademliaClient:
	default:
		bad("Discovery.KademliaMode", "%q is none of %q, %q, %q", d.KademliaMode, KademliaAuto, KademliaServer, KademliaClient)
	}
	if p := d.KademliaPrefix; p != "" {
		if !strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || len(p) > 128 {
			bad("Discovery.KademliaPrefix", "%q is no prefix of a protocol ID, such as \"/ipfs\"", p)
		}
		if len(d.KademliaPeers) == 0 {
			bad("Discovery.KademliaPeers", "is required with KademliaPrefix")
		}
	}
	if r.HolePunching && !r.RelayClient {
		bad("Reachability.HolePunching", "needs RelayClient")
	}
	if len(r.Relays) > 0 && !r.RelayClient {
		bad("Reachability.Relays", "needs RelayClient")
	}
	if c.PSKFile != "" && (r.HolePunching || d.KademliaPrefix != "") {
		bad("PSKFile", "cannot be used with hole punching or a foreign Kademlia network")
	}
	if c.OutboundPeers < 0 || c.OutboundPeers > max(c.MaxPeers, 0) {
		bad("OutboundPeers", "is %d, must be 0 to MaxPeers (%d)", c.OutboundPeers, c.MaxPeers)
	}
	return l
}

// splitBootstrap tells full addresses, and what is none at all, from those that
// lack the peer ID.
func splitBootstrap(texts []string) (full []string, names []ma.Multiaddr) {
	for _, t := range texts {
		a, err := ma.NewMultiaddr(t)
		if err == nil && len(a) > 0 && a[len(a)-1].Protocol().Code != ma.P_P2P {
			names = append(names, a)
			full = append(full, "")
			continue
		}
		full = append(full, t)
	}
	return full, names
}

// checkNames finds entries of Bootstrap without a peer ID that cannot be looked
// up.
func checkNames(c Config, bad badFunc) {
	for i, t := range c.Bootstrap {
		a, err := ma.NewMultiaddr(t)
		if err != nil || len(a) == 0 || a[len(a)-1].Protocol().Code == ma.P_P2P {
			continue
		}
		switch a[0].Protocol().Code {
		case ma.P_DNSADDR, ma.P_DNS, ma.P_DNS4, ma.P_DNS6: // what follows is checked with the other addresses
		default:
			bad(fmt.Sprintf("Bootstrap[%d]", i), "%q has no peer ID (…/p2p/ID); only names (/dnsaddr, /dns, /dns4, /dns6) may go without", t)
		}
	}
}
