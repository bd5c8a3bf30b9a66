package netservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/discovery"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/identity"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/pacing"
	"github.com/go-nebnet/nebnet/internal/peers"
	"github.com/go-nebnet/nebnet/internal/reqresp"
	"github.com/go-nebnet/nebnet/internal/session"
	"github.com/go-nebnet/nebnet/internal/swarm"
	"github.com/go-nebnet/nebnet/p2p"
)

// Node is the libp2p host of a service and the engines round it: peers decides
// whom to know, peerSet shakes hands, session carries the messages. This file
// makes and joins them; none of them knows another.
type Node struct {
	cfg     Config
	addrs   parsed
	opts    options
	obs     *obs.Obs
	id      peer.ID
	key     crypto.PrivKey // nil with an injected host
	psk     pnet.PSK
	network string
	// instance tells peers that this is another run of the same identity.
	instance uint64

	types   *typeTable
	peers   *peers.Manager
	guests  *guests
	named   *namedPeers
	live    atomic.Pointer[liveConfig]
	sources *sourceSet
	reach   atomic.Pointer[reachWatch] // nil before the start
	// punching is for dials through relays.
	punching punching
	repunch  *repunch
	// reloading is held by Reload: one change at a time.
	reloading sync.Mutex
	scores    atomic.Pointer[map[peer.ID]gossip.Score]
	// tracing is held to change who traces; tracer is nil when nobody does.
	tracing sync.Mutex
	tracer  atomic.Pointer[tracer]
	// onUnreached hears of peers to whom no connection could be made; nil for nobody.
	onUnreached atomic.Pointer[func(p peer.ID, err error)]
	dispatch    *dispatcher.Dispatcher
	requests    *reqresp.Engine

	// Set by start.
	host     host.Host
	public   atomic.Pointer[host.Host] // the same, for those who ask at any time
	budgets  *pacing.Budgets           // what each connection may have on its way
	engine   *session.Engine
	gossip   *gossip.Engine
	swarm    *swarm.Engine
	exchange *discovery.Exchange
	record   *ownRecord
	peerSet  *peerSet
	streams  streamHandlers
	tunnels  *p2p.P2P
	dataDir  *identity.Lock // nil without a directory
	unbridge func()         // takes libp2p's logs off this service again
}

func newNode(cfg Config, addrs parsed, opts options, o *obs.Obs, d *dispatcher.Dispatcher) (*Node, error) {
	n := &Node{
		cfg: cfg, addrs: addrs, opts: opts, obs: o, dispatch: d,
		network:  handshake.NetworkID(cfg.ChainID, addrs.genesis),
		instance: rand.Uint64(),
		types:    newTypeTable(cfg.MaxMessageSize),
		guests:   newGuests(),
		sources:  newSourceSet(),
		punching: newPunching(),
		repunch:  newRepunch(opts.random.For("punching")),
	}
	n.live.Store(&liveConfig{cfg, addrs})
	if err := n.loadIdentity(); err != nil {
		return nil, err
	}
	if opts.host == nil && opts.transport == nil {
		if err := errors.Join(cfg.checkDialable(n.id)...); err != nil {
			return nil, err
		}
	}
	systems, err := cfg.readSystems()
	if err != nil {
		return nil, err
	}
	if n.peers, err = peers.New(n.peersConfig(systems)); err != nil {
		return nil, err
	}
	n.named = newNamedPeers(n.peers, addrs)
	n.requests, err = reqresp.New(n.requestConfig())
	return n, err
}

// loadIdentity finds out who this node is, without opening anything.
func (n *Node) loadIdentity() (err error) {
	if n.opts.host != nil {
		n.id = n.opts.host.ID()
		return nil
	}
	if n.cfg.PSKFile != "" {
		text, err := identity.ReadSecret(n.cfg.PSKFile, maxPSKFile, n.cfg.keyOptions()...)
		if err == nil {
			if n.psk, err = pnet.DecodeV1PSK(bytes.NewReader(text)); err != nil {
				err = fmt.Errorf("%s: %w", n.cfg.PSKFile, err)
			}
		}
		if err != nil {
			return &ConfigError{Field: "PSKFile", Err: err}
		}
	}
	switch {
	case n.opts.key != nil:
		if t := n.opts.key.Type(); t != crypto.Ed25519 {
			return &ConfigError{Field: "WithIdentity", Err: fmt.Errorf("%w: it is of type %s", ErrKeyType, t)}
		}
		n.key = n.opts.key
	case n.cfg.DataDir == "":
		n.key, err = identity.Ephemeral()
	default:
		if err = os.MkdirAll(n.cfg.DataDir, 0o700); err == nil {
			n.key, err = identity.Load(n.cfg.keyFile(), n.cfg.keyOptions()...)
		}
	}
	if err != nil {
		return err
	}
	n.id, err = peer.IDFromPrivateKey(n.key)
	return err
}

// maxPSKFile is far more than such a file has.
const maxPSKFile = 4 << 10

// lockDataDir keeps other processes from being this node at the same time.
func (n *Node) lockDataDir() (err error) {
	if n.cfg.DataDir == "" || n.opts.host != nil {
		return nil
	}
	if err = os.MkdirAll(n.cfg.DataDir, 0o700); err != nil { // with a key of the program's own
		return err
	}
	n.dataDir, err = identity.LockDir(n.cfg.DataDir)
	if e, ok := errors.AsType[*identity.LockedError](err); ok {
		return &DataDirInUseError{Dir: e.Dir, PID: e.PID, err: e}
	}
	return err
}

// start opens the host and starts the engines from the bottom up. After an
// error, stop ends what was started.
func (n *Node) start() (err error) {
	if err = n.checkPayload(); err != nil {
		return err
	}
	if err = n.lockDataDir(); err != nil {
		return err
	}
	n.unbridge = n.obs.BridgeLibp2p()
	n.peerSet = newPeerSet(n) // a relay asks it as soon as the host listens
	if n.host, err = n.openHost(); err != nil {
		return err
	}
	n.public.Store(&n.host)
	n.budgets = pacing.New(n.host)
	if n.engine, err = session.New(n.sessionConfig()); err != nil {
		return err
	}
	// It takes what peers of gossip recommend.
	if n.exchange, err = discovery.New(n.exchangeConfig()); err != nil {
		return err
	}
	if err = n.newGossip(); err != nil {
		return err
	}
	if n.swarm, err = swarm.New(n.swarmConfig()); err != nil {
		return err
	}
	b := &typeBinding{session: n.engine, gossip: n.gossip, swarm: n.swarm, judge: n.judge}
	if err = n.types.attach(b); err != nil {
		return err
	}
	if err = n.gossip.Start(); err != nil {
		return err
	}
	if err = n.swarm.Start(); err != nil {
		return err
	}
	if err = n.named.attach(n.gossip); err != nil {
		return err
	}
	if n.record, err = n.tellRecord(); err != nil {
		return err
	}
	if err = n.requests.Start(n.host, n.budgets); err != nil {
		return requestError(err)
	}
	if err = n.exchange.Start(); err != nil {
		return err
	}
	n.tunnels = n.newTunnels()
	n.startStreams()
	n.peerSet.start()
	if err = n.tunnels.Apply(n.peerSet.ctx, n.cfg.Tunnels); err != nil {
		return err
	}
	if err = n.watchReach(); err != nil {
		return err
	}
	n.peers.Start()
	if err = errors.Join(n.sources.follow(n, n.cfg, n.addrs)...); err != nil {
		return err
	}
	n.obs.Log("node").WithField("id", n.id.String()).WithField("network", n.network).
		WithField("addrs", n.host.Network().ListenAddresses()).Info("started")
	return nil
}

// stop ends the engines from the top down: no new handshakes and dials, goodbye
// to the peers, streams, host. Each part waits for its goroutines, until ctx ends
// or, but for the host, nearly so. It copes with a node that was not started, or not
// in full.
func (n *Node) stop(ctx context.Context) (errs []error) {
	soft, cancel := lifecycle.Share(ctx, hostsShare)
	defer cancel()
	var parts, last []part
	if n.host != nil {
		n.peerSet.refuseNew() // tunnels wait for handshakes
		n.stopStreams()
	}
	if n.tunnels != nil {
		parts = append(parts, part{"tunnels", waited(n.tunnels.Close)})
	}
	parts = append(parts, part{"discovery", n.sources.close})
	if w := n.reach.Load(); w != nil {
		parts = append(parts, part{"reachability", waited(func() error { w.close(); return nil })})
	}
	parts = append(parts, part{"peers", waited(func() error { n.peers.Close(); return nil })})
	if n.exchange != nil {
		parts = append(parts, part{"peer exchange", n.exchange.Close})
	}
	if n.record != nil {
		parts = append(parts, part{"own addresses", waited(n.record.close)})
	}
	parts = append(parts, part{"requests", n.requests.Close})
	if n.gossip != nil {
		parts = append(parts, part{"gossip", n.gossip.Close})
	}
	if n.swarm != nil {
		parts = append(parts, part{"large broadcasts", n.swarm.Close})
	}
	if n.engine != nil {
		parts = append(parts, part{"sessions", n.engine.Close})
	}
	if n.peerSet != nil {
		parts = append(parts, part{"handshakes", n.peerSet.close})
	}
	errs = endAll(soft, parts)
	if n.budgets != nil {
		n.budgets.Close()
	}
	if n.host != nil && n.opts.host == nil {
		last = append(last, part{"host", waited(n.host.Close)},
			part{"hole punching", waited(func() error { n.repunch.wg.Wait(); return nil })})
	}
	last = append(last, part{"data directory", waited(n.dataDir.Unlock)})
	errs = append(errs, endAll(ctx, last)...)
	if n.unbridge != nil {
		n.unbridge()
		n.obs.Log("node").WithField("id", n.id.String()).Info("stopped")
	}
	return errs
}

func (n *Node) sessionConfig() session.Config {
	return session.Config{
		Host: n.host, Network: n.network, Obs: n.obs,
		Peers:        n.peerSet,
		Deliver:      n.deliver,
		Budgets:      n.budgets,
		OnRecord:     n.takeRecord,
		OnPayload:    n.peerSet.onPayload,
		OnOffer:      n.offered,
		Penalise:     func(p peer.ID, f session.Fault) { n.peers.Penalise(p, faultWeight(f)) },
		QueueBytes:   n.cfg.PeerQueueBytes,
		PingInterval: timeout(n.cfg.PingInterval), PingTimeout: timeout(n.cfg.PingTimeout),
	}
}

// ID is the node's peer ID. It is known before Start.
func (n *Node) ID() peer.ID { return n.id }

// Network is the network ID: 16 hex digits that stand for chain ID and genesis
// and are part of every protocol ID.
func (n *Node) Network() string { return n.network }

// Host is the libp2p host, nil before Start. Stop closes it, unless it came with
// WithHost. It is the whole host, below all that this package promises: a handler
// set on it serves every node that connects, also strangers that never shake hands,
// and its streams and dials pass the peers' limits by. NebService.HandleStream and
// NewStream are for session peers only.
func (n *Node) Host() host.Host {
	if h := n.public.Load(); h != nil {
		return *h
	}
	return nil
}

// Addrs returns the full multiaddrs (…/p2p/ID) under which the node can be
// reached, as far as it knows; none before Start, after Stop has closed the host,
// and where it listens nowhere.
func (n *Node) Addrs() []ma.Multiaddr {
	h := n.Host()
	if h == nil {
		return nil
	}
	info := host.InfoFromHost(h)
	full, err := peer.AddrInfoToP2pAddrs(info)
	if err != nil || len(info.Addrs) == 0 { // without any, the ID alone
		return nil
	}
	return full
}
