package netservice

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/msgtype"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/setting"
	"github.com/go-nebnet/nebnet/p2p"
)

// Validate reports every mistake of the Config at once: the returned error
// joins one *ConfigError per field at fault. Zero fields are not mistakes
// where a default exists.
func (c Config) Validate() error {
	c = c.withDefaults()
	p, err := c.parse()
	return joined(err, c.checkAddrs(p, false))
}

// joined is errors.Join of errors that may be joined already, flat.
func joined(errs ...error) error {
	var all []error
	for _, err := range errs {
		all = append(all, split(err)...)
	}
	return errors.Join(all...)
}

// split undoes errors.Join.
func split(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// checkAddrs finds addresses that libp2p could not use. Those listened on may
// have any form with a transport that the program brings with it. It is not
// about hosts that the program brings.
func (c Config) checkAddrs(p parsed, transport bool) error {
	host := p2phost.Config{Listen: p.listen, Announce: p.announce, NoPrivate: c.PublicOnly, SkipSockets: transport}
	err := configErrors(host.ValidateAddrs())
	if !transport {
		err = joined(err, errors.Join(c.checkDialable("")...))
	}
	return joined(err, checkDialled("Static", p.static, nil, host.MayDial), checkDialled("Bootstrap", p.bootstrap, p.reserved, host.MayDial), checkDialled("Reserved", p.reserved, p.bootstrap, host.MayDial))
}

// checkDialled finds peers all of whose addresses are filtered out: they would be
// dialled in vain for ever. A peer in the other list has those addresses as well.
func checkDialled(field string, list, other []peer.AddrInfo, may func(ma.Multiaddr) bool) error {
	var errs []error
	for _, ai := range list {
		all := ai.Addrs
		for _, too := range other {
			if too.ID == ai.ID {
				all = append(slices.Clip(all), too.Addrs...)
			}
		}
		if !slices.ContainsFunc(all, func(a ma.Multiaddr) bool { return undialable(a) == nil }) {
			continue // there is none, or each has been named
		}
		if !slices.ContainsFunc(all, may) {
			errs = append(errs, &ConfigError{Field: field, Err: fmt.Errorf("%s has no address that this configuration dials: %s", ai.ID, ai.Addrs)})
		}
	}
	return errors.Join(errs...)
}

// renamed gives the mistakes that a part below has found, of type E, the form of
// those of a Config.
func renamed[E error](err error, rename func(E) *ConfigError) error {
	var errs []error
	for _, err := range split(err) {
		if e, ok := errors.AsType[E](err); ok {
			err = rename(e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// configErrors gives mistakes the type of this package.
func configErrors(err error) error {
	return renamed(err, func(e *setting.Error) *ConfigError { return (*ConfigError)(e) })
}

// parse turns a Config with defaults into the types of the libraries below.
func (c Config) parse() (parsed, error) {
	var p parsed
	var check setting.Check
	bad := check.Bad

	if c.ChainID == "" {
		bad("ChainID", "is required")
	} else if len(c.ChainID) > handshake.MaxChainID {
		bad("ChainID", "has %d bytes, at most %d are allowed", len(c.ChainID), handshake.MaxChainID)
	} else if !utf8.ValidString(c.ChainID) {
		bad("ChainID", "%q is not UTF-8", c.ChainID)
	}
	var err error
	if p.genesis, err = parseGenesis(c.Genesis); err != nil {
		bad("Genesis", "%w", err)
	} else if len(p.genesis) > handshake.MaxGenesis {
		bad("Genesis", "has %d bytes, at most %d are allowed", len(p.genesis), handshake.MaxGenesis)
	}
	if len(c.Agent) > handshake.MaxAgent {
		bad("Agent", "has %d bytes, at most %d are allowed", len(c.Agent), handshake.MaxAgent)
	} else if obs.Clean(c.Agent) != c.Agent {
		bad("Agent", "%q has characters that cannot be printed", c.Agent)
	}
	if len(c.Capabilities) > handshake.MaxCapabilities {
		bad("Capabilities", "has %d entries, at most %d are allowed", len(c.Capabilities), handshake.MaxCapabilities)
	}
	for i, w := range c.Capabilities {
		if err := handshake.ValidCapability(w); err != nil {
			bad(fmt.Sprintf("Capabilities[%d]", i), "%w", err)
		}
	}
	if c.MaxVersion < c.MinVersion {
		bad("MaxVersion", "%d is below MinVersion %d", c.MaxVersion, c.MinVersion)
	}

	if len(c.Listen) != 1 || c.Listen[0] != ListenNowhere {
		p.listen = parseAddrs("Listen", c.Listen, bad)
	}
	p.announce = parseAddrs("Announce", c.Announce, bad)
	full, _ := splitBootstrap(c.Bootstrap)
	p.bootstrap = parsePeers("Bootstrap", full, bad)
	p.peerLists = c.parsePeerLists(bad)
	checkNames(c, bad)
	for _, ai := range p.bootstrap {
		if len(ai.Addrs) == 0 {
			bad("Bootstrap", "%s has no address to dial", ai.ID)
		}
	}
	p.reserved = parsePeers("Reserved", c.Reserved, bad)
	if c.PSKFile != "" {
		for i, a := range p.listen {
			if a == nil {
				continue
			}
			if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err == nil {
				bad(fmt.Sprintf("Listen[%d]", i), "%s: QUIC cannot be used with PSKFile", a)
			}
		}
	}

	setting.AtLeast(&check, "MaxPeers", c.MaxPeers, 1)
	if c.InboundShare > 1 || math.IsNaN(c.InboundShare) {
		bad("InboundShare", "is %v, must be at most 1", c.InboundShare)
	}
	setting.AtLeast(&check, "MaxMessageSize", c.MaxMessageSize, 1)
	if gossipProfiles[c.GossipProfile] == nil {
		bad("GossipProfile", "%q is unknown, want one of %s", c.GossipProfile, strings.Join(slices.Sorted(maps.Keys(gossipProfiles)), ", "))
	}
	if c.MaxMessageSize > msgtype.MaxSize {
		bad("MaxMessageSize", "is %d, must be at most %d", c.MaxMessageSize, msgtype.MaxSize)
	}
	setting.AtLeast(&check, "PeerQueueBytes", c.PeerQueueBytes, 64<<10)
	setting.AtLeast(&check, "DispatchQueue", c.DispatchQueue, 1)

	mistaken := make(map[int]bool)
	for _, err := range split(p2p.ValidateTunnels(c.Tunnels)) {
		if e, ok := errors.AsType[*p2p.TunnelError](err); ok {
			mistaken[e.Index] = true
			bad(fmt.Sprintf("Tunnels[%d]", e.Index), "%w", tunnelMistake{e})
		}
	}
	for i, t := range c.Tunnels {
		if t.LimitedRelay && !mistaken[i] {
			bad(fmt.Sprintf("Tunnels[%d]", i), "limited_relay: there are no sessions over such connections")
		}
	}

	const shortest = Duration(10 * time.Millisecond)
	setting.AtLeast(&check, "HandshakeTimeout", c.HandshakeTimeout, shortest)
	setting.AtLeast(&check, "PingInterval", c.PingInterval, shortest)
	setting.AtLeast(&check, "PingTimeout", c.PingTimeout, shortest)
	setting.AtLeast(&check, "ShutdownTimeout", c.ShutdownTimeout, shortest)
	return p, configErrors(check.Err())
}

type badFunc func(field, format string, args ...any)

func parseAddrs(field string, texts []string, bad badFunc) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	for i, t := range texts {
		a, err := ma.NewMultiaddr(t)
		if err != nil {
			bad(fmt.Sprintf("%s[%d]", field, i), "%q: %w", t, err)
			continue
		}
		addrs = append(addrs, a)
	}
	return addrs
}

// parsePeers parses full multiaddrs, several of one peer merged into one entry.
func parsePeers(field string, texts []string, bad badFunc) []peer.AddrInfo {
	var full []ma.Multiaddr
	for i, t := range texts {
		if t == "" && field == "Bootstrap" {
			continue // a name
		}
		a, err := ma.NewMultiaddr(t)
		if err == nil {
			_, err = peer.AddrInfoFromP2pAddr(a)
		}
		if err != nil {
			bad(fmt.Sprintf("%s[%d]", field, i), "%q is no full peer address (…/p2p/ID): %w", t, err)
			continue
		}
		full = append(full, a)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(full...)
	if err != nil {
		bad(field, "%w", err)
	}
	return infos
}

// tunnelMistake is a *p2p.TunnelError without the place, which the field says.
type tunnelMistake struct{ *p2p.TunnelError }

func (e tunnelMistake) Error() string { return e.Tunnel.Protocol + ": " + e.Err.Error() }

// Unwrap gives the error as package p2p has it.
func (e tunnelMistake) Unwrap() error { return e.TunnelError }
