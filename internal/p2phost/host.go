package p2phost

import (
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

// connGrace is how long the connection manager leaves a new connection alone.
const connGrace = 20 * time.Second

// New builds a host and makes it listen. The error joins one *setting.Error for
// each mistake in the configuration, or one *ListenError for each address that
// cannot be had; nothing is left open or running then.
func New(cfg Config) (host.Host, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h, err := build(cfg)
	if err != nil {
		return nil, err
	}
	if err := listen(h.Network(), cfg); err != nil {
		_ = h.Close() // what was wrong is known already
		return nil, err
	}
	if cfg.FDs < cfg.MaxPeers {
		cfg.Obs.Log("host").WithFields(logrus.Fields{"files": cfg.FDs, "peers": cfg.MaxPeers}).
			Warn("fewer open files for connections than peers: raise the limit (ulimit -n)")
	}
	return h, nil
}

// build makes a host that does not listen. It is kept apart because a libp2p
// constructor that fails to listen leaks, and one that partly fails says nothing.
func build(cfg Config) (_ host.Host, err error) {
	limits := concrete(cfg)
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), append(perAddress(cfg), rcmgr.WithMetricsDisabled())...)
	if err != nil {
		return nil, fmt.Errorf("resource manager: %w", err)
	}
	guard := newGuard(rm, limits, cfg)
	// It trims beyond the peers a node wants and never refuses; who is worth
	// keeping says so with Protect.
	low := cfg.MaxPeers + max(32, cfg.MaxPeers/4)
	cm, err := connmgr.NewConnManager(low, low+max(32, cfg.MaxPeers/4), connmgr.WithGracePeriod(connGrace))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connection manager: %w", err), guard.Close())
	}
	filter := addrFilter{cfg.NoPrivate}
	gate := &gater{filter: filter, gate: cfg.Gate, guard: guard, obs: cfg.Obs}

	opts := []libp2p.Option{
		libp2p.Identity(cfg.Key),
		libp2p.NoListenAddrs, // see listen; switches the relay client off, too
		libp2p.DisableRelay(),
		libp2p.UserAgent(cfg.UserAgent),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, newMuxer()),
		libp2p.ResourceManager(guard),
		libp2p.ConnectionManager(cm),
		libp2p.ConnectionGater(gate),
		libp2p.AddrsFactory(filter.factory(cfg.Announce)),
	}
	opts = append(opts, reach(cfg)...)
	opts = append(opts, transports(cfg)...)
	opts = append(opts, libp2pMetrics(cfg.Metrics)...)
	h, err := libp2p.New(append(opts, cfg.Options...)...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("libp2p: %w", err), cm.Close(), guard.Close())
	}
	n := h.Network()
	gate.network.Store(&n)
	return h, nil
}

func transports(cfg Config) []libp2p.Option {
	var opts []libp2p.Option
	if len(cfg.PSK) != 0 {
		opts = append(opts, libp2p.PrivateNetwork(cfg.PSK))
	}
	if cfg.SkipSockets {
		return opts
	}
	// With SO_REUSEPORT two programs would share a port without knowing.
	opts = append(opts, libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()))
	if len(cfg.PSK) == 0 {
		opts = append(opts, libp2p.Transport(quic.NewTransport))
	}
	return opts
}

// libp2pMetrics has libp2p's own metrics go to reg, nil for nowhere.
func libp2pMetrics(reg prometheus.Registerer) []libp2p.Option {
	if reg != nil {
		return []libp2p.Option{libp2p.PrometheusRegisterer(reg)}
	}
	// libp2p's event bus registers its metrics even when they are disabled,
	// and with the process-wide registry when it is given no other.
	return []libp2p.Option{libp2p.PrometheusRegisterer(prometheus.NewRegistry()), libp2p.DisableMetrics()}
}

// listen takes the addresses one by one, so that each failure is known.
func listen(n network.Network, cfg Config) error {
	add := func(a ma.Multiaddr) error { return n.Listen(a) }
	if s, ok := n.(interface{ AddListenAddr(ma.Multiaddr) error }); ok {
		add = s.AddListenAddr // Listen turns its errors into text
	}
	var errs []error
	for _, a := range cfg.Listen {
		if err := add(a); err != nil {
			errs = append(errs, &ListenError{Addr: a, Err: err})
		}
	}
	return errors.Join(errs...)
}
