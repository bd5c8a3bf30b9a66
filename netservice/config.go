package netservice

import (
	"encoding/hex"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/identity"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/go-nebnet/nebnet/p2p"
)

// Config is everything about a NebService that is plain data. The zero value
// of a field means its default; only ChainID is required. Parts that are Go
// values (host, logger, metrics registry, callbacks) are Options.
//
// A Config is copied by NewNebService; later changes have no effect.
//
// DefaultConfig, marshalled, is a sample file with every field. The names are the
// same in YAML, JSON, TOML and for mapstructure, which viper uses; that needs its
// TextUnmarshallerHookFunc for durations. A loader that finds unknown names is the
// program's own affair.
type Config struct {
	// ChainID names the chain, 1 to 128 bytes. Nodes with different chain IDs
	// never become peers. Required.
	ChainID string `yaml:"chain_id" json:"chain_id" toml:"chain_id" mapstructure:"chain_id"`
	// Genesis is the hash of the chain's first block in hex, at most 64 bytes
	// (128 digits), with or without 0x. Nodes with different genesis never
	// become peers. Default: empty, which is a genesis of its own.
	Genesis string `yaml:"genesis" json:"genesis" toml:"genesis" mapstructure:"genesis"`
	// DataDir holds the key file ("node.key"), and is made on first start. One
	// service has it at a time: Start returns a *DataDirInUseError otherwise.
	// The key file is libp2p's private key message of an Ed25519 key, 68 bytes, as
	// kubo exports it; the same in base64 is read too.
	// Default: empty, which means a new identity at every start.
	DataDir string `yaml:"data_dir" json:"data_dir" toml:"data_dir" mapstructure:"data_dir"`
	// InsecureKey takes a key file or PSKFile that other users own or may read or
	// write, or that is a symbolic link, such as a mounted secret. Its content is
	// checked as always. Default: false, such a file is ErrKeyPermissions,
	// ErrKeyOwner or ErrKeySymlink.
	InsecureKey bool `yaml:"insecure_key" json:"insecure_key" toml:"insecure_key" mapstructure:"insecure_key"`

	// Listen is the multiaddrs to listen on, such as "/ip4/0.0.0.0/tcp/8680"
	// or "/ip4/0.0.0.0/udp/8680/quic-v1". Default: those two (with PSKFile,
	// TCP only). ["none"] listens nowhere.
	Listen []string `yaml:"listen" json:"listen" toml:"listen" mapstructure:"listen"`
	// Announce is the multiaddrs told to others in place of the addresses
	// listened on, for a node behind a port forward. Default: none.
	Announce []string `yaml:"announce" json:"announce" toml:"announce" mapstructure:"announce"`
	// Bootstrap is the full multiaddrs (ending in /p2p/ID) of the nodes to
	// connect to first. They are redialled for as long as the service runs. A name
	// (/dnsaddr/NAME, /dns4/NAME/tcp/PORT and the like) may go without an ID: it is
	// looked up while peers are wanted. Behind /dns, /dns4 and /dns6 any node of the
	// chain will do then: who answers is learned by dialling, and proves nothing more.
	Bootstrap []string `yaml:"bootstrap" json:"bootstrap" toml:"bootstrap" mapstructure:"bootstrap"`
	// Static is the full multiaddrs of peers that are kept connected, within
	// MaxPeers.
	Static []string `yaml:"static" json:"static" toml:"static" mapstructure:"static"`
	// Reserved is the full multiaddrs of peers that are kept connected and are
	// admitted above MaxPeers. Every broadcast is sent to them, whatever their
	// score and outside the mesh; they should reserve this node as well, because
	// one that does not brings it the broadcasts of others a second later.
	Reserved []string `yaml:"reserved" json:"reserved" toml:"reserved" mapstructure:"reserved"`
	// PSKFile is the path of a private-network key file
	// ("/key/swarm/psk/1.0.0/", as go-libp2p reads it). Only nodes with the
	// same key can connect, over TCP only. Default: none.
	PSKFile string `yaml:"psk_file" json:"psk_file" toml:"psk_file" mapstructure:"psk_file"`
	// PublicOnly refuses to dial or announce loopback, private and link-local
	// addresses, as a public network wants. Bootstrap and Reserved peers with no
	// other address are a mistake then. Default: false.
	PublicOnly bool `yaml:"public_only" json:"public_only" toml:"public_only" mapstructure:"public_only"`

	// Agent names the program and its version to peers, at most 128 bytes.
	// Default: "nebnet/" and the module version.
	Agent string `yaml:"agent" json:"agent" toml:"agent" mapstructure:"agent"`
	// Capabilities are words told to peers in the handshake, such as
	// "archive"; at most 32 of at most 64 bytes.
	Capabilities []string `yaml:"capabilities" json:"capabilities" toml:"capabilities" mapstructure:"capabilities"`
	// MinVersion and MaxVersion are the versions of the application's own
	// protocol that this node speaks. Peers whose range does not overlap are
	// refused. Default: 1 and MinVersion.
	MinVersion uint32 `yaml:"min_version" json:"min_version" toml:"min_version" mapstructure:"min_version"`
	MaxVersion uint32 `yaml:"max_version" json:"max_version" toml:"max_version" mapstructure:"max_version"`

	// MaxPeers is the most peers with a session, reserved ones not counted.
	// Default: 50.
	MaxPeers int `yaml:"max_peers" json:"max_peers" toml:"max_peers" mapstructure:"max_peers"`
	// InboundShare is the part of MaxPeers, rounded up, that peers which
	// dialled us may take, at most 1; the rest is kept for peers that this node
	// chose. Default: 0.75. Negative: none.
	InboundShare float64 `yaml:"inbound_share" json:"inbound_share" toml:"inbound_share" mapstructure:"inbound_share"`
	// OutboundPeers is the number of peers that this node looks for and dials.
	// Default: 0, what InboundShare leaves of MaxPeers.
	OutboundPeers int `yaml:"outbound_peers" json:"outbound_peers" toml:"outbound_peers" mapstructure:"outbound_peers"`
	// ASNFile is the path of a table of the autonomous systems that addresses are in: a
	// network and its number on each line, such as "192.0.2.0/24 64496", as pyasn writes
	// them; 0 for a network that no bound for systems is held against. Of the peers that
	// this node chose at most a third (and 2), and of the inbound places at most half
	// (and 8), are of one system where that is known, beside a sixth and a quarter of one
	// /24 or /48. Peers that the Config names are exempt. Reload reads it again. Default:
	// none; for IPv6 the table of go-libp2p-asn-util then, which also answers where the
	// file is silent.
	ASNFile string `yaml:"asn_file" json:"asn_file" toml:"asn_file" mapstructure:"asn_file"`
	// Discovery is how peers are found beside the lists above. Default: none of it.
	Discovery Discovery `yaml:"discovery" json:"discovery" toml:"discovery" mapstructure:"discovery"`
	// Reachability is what is done against NATs. Default: nothing.
	Reachability Reachability `yaml:"reachability" json:"reachability" toml:"reachability" mapstructure:"reachability"`
	// NoPeerExchange keeps the node from asking its peers for further peers
	// while it has free places. Default: false.
	NoPeerExchange bool `yaml:"no_peer_exchange" json:"no_peer_exchange" toml:"no_peer_exchange" mapstructure:"no_peer_exchange"`
	// GossipProfile is the set of parameters of broadcasting: "small-network",
	// "public-network" or "low-latency". Default: "small-network".
	GossipProfile string `yaml:"gossip_profile" json:"gossip_profile" toml:"gossip_profile" mapstructure:"gossip_profile"`
	// SignMessages has broadcast messages signed by their author, and others
	// rejected. All nodes of the network must set it alike. Default: false,
	// because what a blockchain sends is signed by itself.
	SignMessages bool `yaml:"sign_messages" json:"sign_messages" toml:"sign_messages" mapstructure:"sign_messages"`

	// MaxMessageSize bounds a message of a type that does not declare its own
	// limit, in bytes after decompression. Default: 4 MiB.
	MaxMessageSize int `yaml:"max_message_size" json:"max_message_size" toml:"max_message_size" mapstructure:"max_message_size"`
	// PeerQueueBytes bounds what waits to be sent to one peer, all types
	// together. Default: 16 MiB.
	PeerQueueBytes int `yaml:"peer_queue_bytes" json:"peer_queue_bytes" toml:"peer_queue_bytes" mapstructure:"peer_queue_bytes"`
	// DispatchQueue bounds the received messages of one type that wait for
	// their subscribers. Default: 65,536.
	DispatchQueue int `yaml:"dispatch_queue" json:"dispatch_queue" toml:"dispatch_queue" mapstructure:"dispatch_queue"`

	// Tunnels are the TCP and unix-socket services to bridge to peers, from
	// Start to Stop, see package p2p. Default: none.
	Tunnels []p2p.Tunnel `yaml:"tunnels" json:"tunnels" toml:"tunnels" mapstructure:"tunnels"`

	// HandshakeTimeout bounds one handshake, and how long a connection may
	// exist without one, unless a type has an open topic (GossipSpec.Open).
	// Default: 10 s.
	HandshakeTimeout Duration `yaml:"handshake_timeout" json:"handshake_timeout" toml:"handshake_timeout" mapstructure:"handshake_timeout"`
	// PingInterval is how often an otherwise silent peer is asked for a sign of
	// life, by the side that was dialled (the other one waits a third longer), and
	// PingTimeout how long it may take. A dead peer is noticed within 4/3 of the
	// one plus the other. Defaults: 3 s and 5 s.
	PingInterval Duration `yaml:"ping_interval" json:"ping_interval" toml:"ping_interval" mapstructure:"ping_interval"`
	PingTimeout  Duration `yaml:"ping_timeout" json:"ping_timeout" toml:"ping_timeout" mapstructure:"ping_timeout"`
	// ShutdownTimeout bounds Stop. A fourth of it is kept for the subscribers to take
	// what has arrived, however long the rest takes. Default: 10 s.
	ShutdownTimeout Duration `yaml:"shutdown_timeout" json:"shutdown_timeout" toml:"shutdown_timeout" mapstructure:"shutdown_timeout"`
}

// Defaults of Config.
const (
	DefaultMaxPeers         = 50
	DefaultInboundShare     = 0.75
	DefaultMaxMessageSize   = 4 << 20
	DefaultPeerQueueBytes   = 16 << 20
	DefaultDispatchQueue    = 65536
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultPingInterval     = 3 * time.Second
	DefaultPingTimeout      = 5 * time.Second
	DefaultShutdownTimeout  = 10 * time.Second
)

// ListenNowhere, as the only entry of Config.Listen, makes a node that dials
// but cannot be dialled.
const ListenNowhere = "none"

const keyFileName = "node.key"

// DefaultConfig is the configuration of a node that sets nothing, every default
// written out; only ChainID is left to the program.
func DefaultConfig() Config {
	c := Config{}.withDefaults()
	for _, list := range c.lists() {
		if *list == nil {
			*list = []string{} // in a file it can be seen
		}
	}
	c.Tunnels = []p2p.Tunnel{}
	return c
}

// withDefaults returns a copy in which every zero field has its default.
func (c Config) withDefaults() Config {
	if len(c.Listen) == 0 {
		c.Listen = []string{"/ip4/0.0.0.0/tcp/8680"}
		if c.PSKFile == "" {
			c.Listen = append(c.Listen, "/ip4/0.0.0.0/udp/8680/quic-v1")
		}
	}
	if c.Agent == "" {
		c.Agent = defaultAgent()
	}
	setting.Default(&c.MinVersion, 1)
	setting.Default(&c.MaxVersion, c.MinVersion)
	setting.Default(&c.MaxPeers, DefaultMaxPeers)
	setting.Default(&c.InboundShare, DefaultInboundShare)
	setting.Default(&c.GossipProfile, "small-network")
	setting.Default(&c.MaxMessageSize, DefaultMaxMessageSize)
	setting.Default(&c.PeerQueueBytes, DefaultPeerQueueBytes)
	setting.Default(&c.DispatchQueue, DefaultDispatchQueue)
	setting.Default(&c.HandshakeTimeout, Duration(DefaultHandshakeTimeout))
	setting.Default(&c.PingInterval, Duration(DefaultPingInterval))
	setting.Default(&c.PingTimeout, Duration(DefaultPingTimeout))
	setting.Default(&c.ShutdownTimeout, Duration(DefaultShutdownTimeout))
	return c
}

// lists are all lists of texts.
func (c *Config) lists() []*[]string {
	return []*[]string{
		&c.Listen, &c.Announce, &c.Bootstrap, &c.Reserved, &c.Static, &c.Capabilities,
		&c.Discovery.KademliaPeers, &c.Reachability.Relays,
	}
}

// clone returns a copy that shares nothing with the program.
func (c Config) clone() Config {
	for _, list := range c.lists() {
		*list = slices.Clone(*list)
	}
	c.Tunnels = slices.Clone(c.Tunnels)
	for i := range c.Tunnels {
		t := &c.Tunnels[i]
		t.Admit, t.AllowTargets = slices.Clone(t.Admit), slices.Clone(t.AllowTargets)
	}
	return c
}

// defaultAgent is "nebnet/" and the version that the program was built with.
func defaultAgent() string {
	const module = "github.com/go-nebnet/nebnet"
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; info.Main.Path == module && v != "" && v != "(devel)" {
			version = v
		}
		for _, dep := range info.Deps {
			if dep.Path == module {
				version = dep.Version
			}
		}
	}
	return "nebnet/" + version
}

func (c Config) keyFile() string { return filepath.Join(c.DataDir, keyFileName) }

func (c Config) keyOptions() []identity.Option {
	if c.InsecureKey {
		return []identity.Option{identity.AllowInsecure()}
	}
	return nil
}

// parsed is a Config in the types of the libraries below.
type parsed struct {
	genesis   []byte
	listen    []ma.Multiaddr
	announce  []ma.Multiaddr
	bootstrap []peer.AddrInfo
	reserved  []peer.AddrInfo
	peerLists
}

func parseGenesis(s string) ([]byte, error) {
	if len(s) >= 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = s[2:]
	}
	return hex.DecodeString(s)
}
