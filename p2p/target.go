package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// How soon a busy unix socket is tried again.
const (
	minBusy = time.Millisecond
	maxBusy = 100 * time.Millisecond
)

// Target is what a listener is about to connect to.
type Target struct {
	Addr netip.AddrPort // for TCP: the resolved address, IPv4 in its short form
	Path string         // for a unix socket
}

func (t Target) String() string {
	if t.Path != "" {
		return "unix:" + t.Path
	}
	return t.Addr.String()
}

// TargetRule decides about one target. A panic denies it.
type TargetRule func(Target) bool

// AnyTarget allows everything.
func AnyTarget(Target) bool { return true }

// LoopbackOnly allows TCP to 127.0.0.0/8 and ::1, and nothing else: no other
// address of this machine, no unspecified address, no unix socket.
func LoopbackOnly(t Target) bool { return t.Path == "" && t.Addr.Addr().IsLoopback() }

// AllowPrefixes allows TCP to addresses within the prefixes.
func AllowPrefixes(prefixes ...netip.Prefix) TargetRule {
	return func(t Target) bool {
		return t.Path == "" && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(t.Addr.Addr()) })
	}
}

// AllowUnix allows the unix sockets with these paths.
func AllowUnix(paths ...string) TargetRule {
	return func(t Target) bool {
		return t.Path != "" && slices.ContainsFunc(paths, func(p string) bool { return filepath.Clean(p) == filepath.Clean(t.Path) })
	}
}

// AnyOf allows what one of the rules allows.
func AnyOf(rules ...TargetRule) TargetRule {
	return func(t Target) bool {
		return slices.ContainsFunc(rules, func(r TargetRule) bool { return r(t) })
	}
}

// maxUnixPath is how long the path of a unix socket may be, in bytes: longer ones are
// an "invalid argument" to the system. A NUL follows the path.
const maxUnixPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// socketAddr is a multiaddr as package net takes it.
type socketAddr struct{ network, address string }

// parseSocket accepts /ip4|ip6|dns|dns4|dns6/…/tcp/…, /ip6zone/… before /ip6, and
// /unix/…, with nothing after them.
func parseSocket(a ma.Multiaddr) (socketAddr, error) {
	if len(a) == 0 {
		return socketAddr{}, fmt.Errorf("%w: none given", ErrAddress)
	}
	network, address, err := manet.DialArgs(a)
	if err != nil {
		return socketAddr{}, fmt.Errorf("%w: %s: %w", ErrAddress, a, err)
	}
	parts := len(a)
	if parts > 1 && a[0].Code() == ma.P_IP6ZONE && a[1].Code() == ma.P_IP6 {
		parts--
	}
	switch network { // that of the first components: DialArgs ignores the others
	case "tcp", "tcp4", "tcp6":
		if parts == 2 {
			return socketAddr{network, address}, nil
		}
	case "unix":
		if len(address) > maxUnixPath {
			return socketAddr{}, fmt.Errorf("%w: %s: the path is too long: %d bytes, at most %d on this system", ErrAddress, a, len(address), maxUnixPath)
		}
		if parts == 1 {
			return socketAddr{network, address}, nil
		}
	}
	return socketAddr{}, fmt.Errorf("%w: %s is not exactly a TCP or unix socket address", ErrAddress, a)
}

// parseTarget is parseSocket for the address of a service, which has a port.
func parseTarget(a ma.Multiaddr) (socketAddr, error) {
	s, err := parseSocket(a)
	if err != nil || s.network == "unix" {
		return s, err
	}
	if _, port, err := net.SplitHostPort(s.address); err != nil || port == "0" {
		return socketAddr{}, fmt.Errorf("%w: %s: no service is on port 0", ErrAddress, a)
	}
	return s, nil
}

// target returns what a rule can judge without resolving a name.
func (s socketAddr) target() (Target, bool) {
	if s.network == "unix" {
		return Target{Path: s.address}, true
	}
	ap, err := netip.ParseAddrPort(s.address)
	return Target{Addr: plain(ap)}, err == nil
}

// plain takes the disguises off an address: IPv4 within IPv6, and the zone.
func plain(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// dialTarget connects to the local service. The rule is asked about each
// address that the name resolves to, right before the connection is made.
func (p *P2P) dialTarget(ctx context.Context, s socketAddr, set settings) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, set.dialTimeout)
	defer cancel()
	d := net.Dialer{
		Resolver: p.resolver,
		Control: func(network, address string, socket syscall.RawConn) error {
			t, ok := socketAddr{network, address}.target()
			if !ok {
				return fmt.Errorf("%w: %s", ErrAddress, address)
			}
			if err := p.allowed(t, set.allow); err != nil {
				return err
			}
			connectNow(socket, t.Addr)
			return nil
		},
	}
	c, err := dialBusy(ctx, &d, s)
	if err != nil && !errors.Is(err, ErrTargetDenied) {
		return nil, fmt.Errorf("%w: %w", ErrTargetRefused, err)
	}
	return c, err
}

// dialBusy dials, and goes on for as long as ctx allows while the service has more
// connections waiting than it wants to: a unix socket says that at once, where TCP
// lets the connection wait.
func dialBusy(ctx context.Context, d *net.Dialer, s socketAddr) (net.Conn, error) {
	for wait := minBusy; ; wait = min(2*wait, maxBusy) {
		c, err := d.DialContext(ctx, s.network, s.address)
		if s.network != "unix" || !errors.Is(err, syscall.EAGAIN) {
			return c, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// allowed asks the rule, and takes a panic for a no.
func (p *P2P) allowed(t Target, rule TargetRule) error {
	if rule == nil || p.ask(func() bool { return rule(t) }) {
		return nil
	}
	return &TargetError{t}
}

// ask calls code of the program.
func (p *P2P) ask(f func() bool) (yes bool) {
	defer func() {
		if r := recover(); r != nil {
			yes = false
			p.obs.Panicked(obs.Panic{Component: "tunnel", In: "rule", Value: r, Count: p.obs.Counter(obs.TunnelPanics)})
		}
	}()
	return f()
}
