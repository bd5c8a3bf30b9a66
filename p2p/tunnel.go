package p2p

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Tunnel is a tunnel as configuration describes it. Exactly one of Bind and
// Target is given: Bind makes a tunnel to a peer, as Dial does; Target serves a
// local service to peers, as NewListener does.
type Tunnel struct {
	// Protocol is the protocol name, such as "/x/web". Required.
	Protocol string `yaml:"protocol" json:"protocol" toml:"protocol" mapstructure:"protocol"`
	// CustomProtocol allows a name that does not begin with "/x/".
	CustomProtocol bool `yaml:"custom_protocol,omitempty" json:"custom_protocol,omitempty" toml:"custom_protocol,omitempty" mapstructure:"custom_protocol"`

	// Bind is the multiaddr to listen on, such as "/ip4/127.0.0.1/tcp/9090" or
	// "/unix/run/web.sock".
	Bind string `yaml:"bind,omitempty" json:"bind,omitempty" toml:"bind,omitempty" mapstructure:"bind"`
	// Peer is the peer to dial: a multiaddr that ends in /p2p/ID, or the ID
	// alone if its addresses are known otherwise, or /dnsaddr/host, which names the
	// peer when the tunnel is made. Required with Bind.
	Peer string `yaml:"peer,omitempty" json:"peer,omitempty" toml:"peer,omitempty" mapstructure:"peer"`
	// LimitedRelay allows relayed connections that are limited in time and
	// bytes.
	LimitedRelay bool `yaml:"limited_relay,omitempty" json:"limited_relay,omitempty" toml:"limited_relay,omitempty" mapstructure:"limited_relay"`

	// Target is the multiaddr of the local service, such as
	// "/ip4/127.0.0.1/tcp/8080".
	Target string `yaml:"target,omitempty" json:"target,omitempty" toml:"target,omitempty" mapstructure:"target"`
	// Admit is the IDs of the peers that may use the service. Default: all.
	Admit []string `yaml:"admit,omitempty" json:"admit,omitempty" toml:"admit,omitempty" mapstructure:"admit"`
	// AllowTargets is what Target may resolve to: prefixes such as
	// "10.0.0.0/8", or paths of unix sockets. Default: loopback addresses.
	AllowTargets []string `yaml:"allow_targets,omitempty" json:"allow_targets,omitempty" toml:"allow_targets,omitempty" mapstructure:"allow_targets"`
	// ReportPeer is how the service learns the peer: "" for not at all,
	// "peer-id" for a line with the ID as kubo sends it, "proxy-v2" for the
	// PROXY protocol.
	ReportPeer string `yaml:"report_peer,omitempty" json:"report_peer,omitempty" toml:"report_peer,omitempty" mapstructure:"report_peer"`

	// MaxStreams and MaxStreamsPerPeer bound the tunnel's connections at one
	// time. Default: only the bounds over all tunnels.
	MaxStreams        int `yaml:"max_streams,omitempty" json:"max_streams,omitempty" toml:"max_streams,omitzero" mapstructure:"max_streams"`
	MaxStreamsPerPeer int `yaml:"max_streams_per_peer,omitempty" json:"max_streams_per_peer,omitempty" toml:"max_streams_per_peer,omitzero" mapstructure:"max_streams_per_peer"`
	// IdleTimeout ends connections on which nothing moves. Default: 2 h for a
	// service open to all peers, else none.
	IdleTimeout Duration `yaml:"idle_timeout,omitempty" json:"idle_timeout,omitempty" toml:"idle_timeout,omitzero" mapstructure:"idle_timeout"`
	// DialTimeout bounds the dialling of the peer or the target. Default: 30 s.
	DialTimeout Duration `yaml:"dial_timeout,omitempty" json:"dial_timeout,omitempty" toml:"dial_timeout,omitzero" mapstructure:"dial_timeout"`
}

// Duration is a time.Duration that reads and writes as text such as "30s".
type Duration time.Duration

// MarshalText writes the duration as time.Duration.String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: %w", text, err)
	}
	*d = Duration(v)
	return nil
}

// Validate reports every mistake at once. Each error names its field.
func (t Tunnel) Validate() error {
	_, err := t.parse()
	return err
}

// parsedTunnel is a Tunnel in the types of the functions that make it.
type parsedTunnel struct {
	bind, target ma.Multiaddr
	peer         peer.ID
	addr         ma.Multiaddr
	opts         []Option
}

func (t Tunnel) parse() (parsedTunnel, error) {
	var (
		out  parsedTunnel
		errs []error
	)
	bad := func(field string, err error) { errs = append(errs, fmt.Errorf("%s: %w", field, err)) }
	if err := checkProtocol(t.Protocol, t.CustomProtocol); err != nil {
		bad("protocol", err)
	}
	if t.CustomProtocol {
		out.opts = append(out.opts, WithCustomProtocols())
	}
	socket := func(field, s string, parse func(ma.Multiaddr) (socketAddr, error)) ma.Multiaddr {
		a, err := ma.NewMultiaddr(s)
		if err == nil {
			_, err = parse(a)
		}
		if err != nil {
			bad(field, err)
		}
		return a
	}
	switch {
	case t.Bind != "" && t.Target != "":
		bad("target", errors.New("a tunnel has either bind or target"))
	case t.Bind != "":
		out.bind = socket("bind", t.Bind, parseSocket)
		t.parsePeer(&out, bad)
	case t.Target != "":
		out.target = socket("target", t.Target, parseTarget)
		t.parseService(&out, bad)
	default:
		bad("bind", errors.New("a tunnel needs bind and peer, or target"))
	}
	t.parseBounds(&out, bad)
	return out, errors.Join(errs...)
}

func (t Tunnel) parsePeer(out *parsedTunnel, bad func(string, error)) {
	if t.LimitedRelay {
		out.opts = append(out.opts, WithLimitedRelay())
	}
	if len(t.Admit)+len(t.AllowTargets) > 0 || t.ReportPeer != "" {
		bad("bind", errors.New("admit, allow_targets and report_peer belong to a tunnel with target"))
	}
	id, err := peer.Decode(t.Peer)
	if err == nil {
		out.peer = id
		return
	}
	if a, err := ma.NewMultiaddr(t.Peer); err == nil && isNameOfPeer(a) {
		out.addr = a
		return
	}
	info, err := peer.AddrInfoFromString(t.Peer)
	if err != nil {
		bad("peer", fmt.Errorf("%q is neither a peer ID nor a multiaddr that ends in one: %w", t.Peer, err))
		return
	}
	out.peer = info.ID
	if len(info.Addrs) > 0 {
		out.addr = info.Addrs[0]
		if err := nobodyAt(out.addr); err != nil {
			bad("peer", fmt.Errorf("%w: %s: %w", ErrAddress, t.Peer, err))
		}
	}
}

// nobodyAt says why no peer can be dialled at an address, nil when one may: the
// host's transports are its own affair.
func nobodyAt(a ma.Multiaddr) error {
	for _, c := range a {
		switch c.Protocol().Code {
		case ma.P_IP4, ma.P_IP6:
			if ip := net.IP(c.RawValue()); ip.IsUnspecified() || ip.IsMulticast() || ip.Equal(net.IPv4bcast) {
				return fmt.Errorf("%s is the address of no host", ip)
			}
		case ma.P_TCP, ma.P_UDP:
			if c.Value() == "0" {
				return errors.New("has port 0")
			}
		}
	}
	switch a[len(a)-1].Protocol().Code {
	case ma.P_P2P:
		return errors.New("has two peer IDs")
	case ma.P_IP4, ma.P_IP6:
		return errors.New("has no port")
	}
	return nil
}

func (t Tunnel) parseService(out *parsedTunnel, bad func(string, error)) {
	if t.Peer != "" || t.LimitedRelay {
		bad("target", errors.New("peer and limited_relay belong to a tunnel with bind"))
	}
	if len(t.Admit) > 0 {
		ids := make([]peer.ID, 0, len(t.Admit))
		for _, s := range t.Admit {
			id, err := peer.Decode(s)
			if err != nil {
				bad("admit", fmt.Errorf("%q: %w", s, err))
			}
			ids = append(ids, id)
		}
		out.opts = append(out.opts, WithAdmit(ids...))
	}
	out.opts = append(out.opts, WithTargetRule(t.rule(bad)))
	switch t.ReportPeer {
	case "":
	case "peer-id":
		out.opts = append(out.opts, WithPeerReport(ReportPeerID))
	case "proxy-v2":
		out.opts = append(out.opts, WithPeerReport(ReportProxyV2))
	default:
		bad("report_peer", fmt.Errorf(`%q is none of "", "peer-id" and "proxy-v2"`, t.ReportPeer))
	}
}

func (t Tunnel) rule(bad func(string, error)) TargetRule {
	if len(t.AllowTargets) == 0 {
		return LoopbackOnly
	}
	var (
		prefixes []netip.Prefix
		paths    []string
	)
	for _, s := range t.AllowTargets {
		if len(s) > 0 && s[0] == '/' {
			paths = append(paths, s)
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			bad("allow_targets", err)
			continue
		}
		prefixes = append(prefixes, p.Masked())
	}
	return AnyOf(AllowPrefixes(prefixes...), AllowUnix(paths...))
}

func (t Tunnel) parseBounds(out *parsedTunnel, bad func(string, error)) {
	for _, n := range []struct {
		field string
		value int64
		opt   Option
	}{
		{"max_streams", int64(t.MaxStreams), WithMaxStreams(t.MaxStreams)},
		{"max_streams_per_peer", int64(t.MaxStreamsPerPeer), WithMaxStreamsPerPeer(t.MaxStreamsPerPeer)},
		{"idle_timeout", int64(t.IdleTimeout), WithIdleTimeout(time.Duration(t.IdleTimeout))},
		{"dial_timeout", int64(t.DialTimeout), WithDialTimeout(time.Duration(t.DialTimeout))},
	} {
		switch {
		case n.value < 0:
			bad(n.field, errors.New("is negative"))
		case n.value > 0:
			out.opts = append(out.opts, n.opt)
		}
	}
}
