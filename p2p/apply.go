package p2p

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/listener"
)

// applied is the tunnels that run because configuration says so.
type applied struct {
	mu      sync.Mutex // held during Apply, so that two do not mix
	running map[string]*listener.Info
}

// Apply makes the configured tunnels run: those that do not run yet are
// started, those of an earlier Apply that are no longer listed are closed
// (their streams too), and the rest is left alone. Tunnels that were made by
// Dial or NewListener are not touched. The tunnels end with the ctx of the
// Apply that started them.
//
// A tunnel that cannot be started does not keep the others from it; the error
// joins one *TunnelError for each. When a tunnel is not valid, nothing is
// changed.
func (p *P2P) Apply(ctx context.Context, tunnels []Tunnel) error {
	parsed, err := parseTunnels(tunnels)
	if err != nil {
		return err
	}
	p.config.mu.Lock()
	defer p.config.mu.Unlock()
	next := make(map[string]*listener.Info, len(tunnels))
	listed := make(map[string]bool, len(tunnels))
	for i, t := range tunnels {
		k := p.key(t, parsed[i])
		listed[k] = true
		if l := p.config.running[k]; l != nil && l.Err() == nil {
			next[k] = l
		}
	}
	for k, l := range p.config.running {
		if !listed[k] { // one that was closed otherwise left its streams running
			l.CloseStreams()
		}
	}
	var errs []error
	for i, t := range tunnels {
		k := p.key(t, parsed[i])
		if next[k] != nil {
			continue
		}
		l, err := p.start(ctx, t, parsed[i])
		if err != nil {
			errs = append(errs, &TunnelError{i, t, err})
			continue
		}
		next[k] = l
	}
	p.config.running = next
	return errors.Join(errs...)
}

// ValidateTunnels reports every mistake in a list of tunnels, two that want the
// same protocol or address included.
func ValidateTunnels(tunnels []Tunnel) error {
	_, err := parseTunnels(tunnels)
	return err
}

func parseTunnels(tunnels []Tunnel) ([]parsedTunnel, error) {
	var errs []error
	out := make([]parsedTunnel, len(tunnels))
	seen := make(map[string]int)
	for i, t := range tunnels {
		parsed, err := t.parse()
		if err == nil {
			place := "protocol " + t.Protocol
			if parsed.bind != nil {
				place = "bind address " + parsed.bind.String()
			}
			if first, taken := seen[place]; taken && !anyPort(parsed) {
				err = fmt.Errorf("%s is that of tunnels[%d]", place, first)
			}
			seen[place] = i
		}
		if err != nil {
			errs = append(errs, &TunnelError{i, t, err})
		}
		out[i] = parsed
	}
	return out, errors.Join(errs...)
}

// anyPort reports whether the tunnel binds to a port of the system's choice, so
// that two with the same address do not collide.
func anyPort(t parsedTunnel) bool {
	if t.bind == nil {
		return false
	}
	s, err := parseSocket(t.bind)
	target, ok := s.target()
	return err == nil && ok && target.Path == "" && target.Addr.Port() == 0
}

func (p *P2P) start(ctx context.Context, t Tunnel, parsed parsedTunnel) (*listener.Info, error) {
	if parsed.bind != nil {
		return p.Dial(ctx, parsed.addr, parsed.peer, t.Protocol, parsed.bind, parsed.opts...)
	}
	return p.NewListener(ctx, t.Protocol, parsed.target, parsed.opts...)
}

// key tells tunnels apart by what they mean, however that is spelt. The tunnel is
// valid.
func (p *P2P) key(t Tunnel, parsed parsedTunnel) string {
	// A default that is spelt out is still the default.
	t.CustomProtocol = false // the name says which it is
	set := p.defaults.with(parsed.opts)
	t.DialTimeout, t.IdleTimeout = Duration(set.dialTimeout), Duration(set.idle)
	if parsed.target != nil {
		t.IdleTimeout = Duration(set.servedIdle())
	}
	t.Bind, t.Target = socketKey(parsed.bind), socketKey(parsed.target)
	t.Peer = parsed.addr.String() + "/p2p/" + parsed.peer.String()
	t.Admit = sorted(t.Admit, func(s string) string {
		id, _ := peer.Decode(s)
		return id.String()
	})
	t.AllowTargets = sorted(t.AllowTargets, func(s string) string {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			return prefix.Masked().String()
		}
		return filepath.Clean(s)
	})
	b, err := json.Marshal(t)
	if err != nil { // cannot happen: all fields are plain data
		return fmt.Sprint(t)
	}
	return string(b)
}

func socketKey(a ma.Multiaddr) string {
	s, err := parseSocket(a)
	if err == nil && s.network == "unix" {
		return "unix:" + filepath.Clean(s.address)
	}
	return a.String()
}

// sorted is a list in its plain form, each entry once.
func sorted(list []string, plain func(string) string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = plain(s)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
