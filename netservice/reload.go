package netservice

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/peers"
)

// ErrNeedsRestart: a field of Config that Reload cannot change while the service
// runs.
var ErrNeedsRestart = errors.New("takes effect with the next start only")

// liveConfig is the configuration in force.
type liveConfig struct {
	cfg   Config
	addrs parsed
}

// reloadable are the fields of Config that change while the service runs.
var reloadable = []string{"Bootstrap", "Static", "Reserved", "MaxPeers", "InboundShare", "OutboundPeers", "ASNFile", "NoPeerExchange", "Tunnels", "Discovery"}

// Config returns the configuration in force, with its defaults.
func (s *NebService) Config() Config { return s.node.live.Load().cfg.clone() }

// Reload makes a running service follow another configuration: the peers that
// are named, the limits, the table of autonomous systems, peer exchange, the ways of discovery and the tunnels.
// Sessions and tunnels that the new one still has are left alone; peers that were
// added by calls stay. When a field is wrong, nothing is changed. Fields that
// cannot change are left as they are, and the error joins one *ConfigError with
// ErrNeedsRestart for each of them. Other errors: ErrNotStarted, ErrStopped, and
// those of tunnels that cannot be started.
func (s *NebService) Reload(cfg Config) error {
	if err := s.running(); err != nil {
		return err
	}
	n := s.node
	cfg = cfg.withDefaults().clone()
	p, err := cfg.parse()
	if n.opts.host == nil {
		err = joined(err, cfg.checkAddrs(p, n.opts.transport != nil))
	}
	if err != nil {
		return err
	}
	systems, err := cfg.readSystems()
	if err != nil {
		return err
	}
	n.reloading.Lock()
	defer n.reloading.Unlock()
	old := n.live.Load()
	var errs []error
	now, next := reflect.ValueOf(&old.cfg).Elem(), reflect.ValueOf(&cfg).Elem()
	for i := range now.NumField() {
		name := now.Type().Field(i).Name
		if slices.Contains(reloadable, name) || reflect.DeepEqual(now.Field(i).Interface(), next.Field(i).Interface()) {
			continue
		}
		errs = append(errs, &ConfigError{Field: name, Err: ErrNeedsRestart})
		next.Field(i).Set(now.Field(i))
	}
	n.live.Store(&liveConfig{cfg, p})
	for _, l := range []struct {
		r         peers.Role
		old, next []peer.AddrInfo
	}{
		{peers.RoleBoot, old.addrs.bootstrap, p.bootstrap},
		{peers.RoleStatic, old.addrs.static, p.static},
		{peers.RoleReserved, old.addrs.reserved, p.reserved},
	} {
		errs = append(errs, n.rename(l.r, l.old, l.next)...)
	}
	limits := peers.Limits{MaxPeers: cfg.MaxPeers, InboundShare: cfg.InboundShare, Outbound: cfg.OutboundPeers}
	if was := (peers.Limits{MaxPeers: old.cfg.MaxPeers, InboundShare: old.cfg.InboundShare, Outbound: old.cfg.OutboundPeers}); limits != was {
		n.peers.SetLimits(limits)
	}
	n.peers.SetSystems(systems)
	errs = append(errs, n.sources.follow(n, cfg, p)...)
	if err := n.tunnels.Apply(n.peerSet.ctx, cfg.Tunnels); err != nil {
		errs = append(errs, fmt.Errorf("tunnels: %w", err))
	}
	return joined(errs...)
}

// rename makes a list of named peers another one.
func (n *Node) rename(r peers.Role, old, next []peer.AddrInfo) (errs []error) {
	listed := func(l []peer.AddrInfo, p peer.ID) bool {
		return slices.ContainsFunc(l, func(ai peer.AddrInfo) bool { return ai.ID == p })
	}
	for _, ai := range next {
		if err := n.named.add(r, ai); err != nil {
			errs = append(errs, fmt.Errorf("peer %s: %w", ai.ID, err))
		}
	}
	for _, ai := range old {
		if !listed(next, ai.ID) {
			if err := n.named.remove(r, ai.ID); err != nil {
				errs = append(errs, fmt.Errorf("peer %s: %w", ai.ID, err))
			}
		}
	}
	return errs
}
