package p2phost

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// guard wraps libp2p's resource manager with what it lacks: limits on what a
// peer, or an address without a peer yet, holds of the two pools that everybody
// passes through, unfinished handshakes and streams without a protocol.
// Protocols without a limit of their own share one account: libp2p would keep
// one for each of them and each peer, for as long as anybody uses the protocol.
type guard struct {
	network.ResourceManager
	obs     *obs.Obs
	streams *negotiations
	conns   *handshakes
	limited map[protocol.ID]rcmgr.ResourceLimits // protocols with an account of their own
	tell    func(p peer.ID, remote ma.Multiaddr) // Config.Crowded, may be nil
}

func newGuard(rm network.ResourceManager, limits rcmgr.ConcreteLimitConfig, c Config) *guard {
	return &guard{
		ResourceManager: rm,
		obs:             c.Obs,
		streams:         newNegotiations(negotiatingPerPeer),
		conns:           newHandshakes(c),
		limited:         limits.ToPartialLimitConfig().Protocol,
		tell:            c.Crowded,
	}
}

// Close ends the resource manager and whoever still waits for a stream.
func (g *guard) Close() error {
	g.streams.close()
	return g.ResourceManager.Close()
}

// OpenConnection admits a connection before its peer is known.
func (g *guard) OpenConnection(dir network.Direction, usefd bool, remote ma.Multiaddr) (network.ConnManagementScope, error) {
	var h *handshake
	if dir == network.DirInbound {
		var err error
		if h, err = g.conns.begin(remote); err != nil {
			g.refusedConn("ip_handshakes", remote, err)
			return nil, err
		}
	}
	scope, err := g.ResourceManager.OpenConnection(dir, usefd, remote)
	if err != nil {
		h.end()
		if !errors.Is(err, network.ErrResourceLimitExceeded) { // those of addresses do not say what they are
			err = fmt.Errorf("%w: %w", network.ErrResourceLimitExceeded, err)
		}
		if dir == network.DirInbound {
			g.refusedConn("limit", remote, err)
		}
		return nil, err
	}
	return &connScope{ConnManagementScope: scope, guard: g, dir: dir, remote: remote, handshake: h}, nil
}

// OpenStream admits a stream before it has a protocol. An inbound one waits
// for the peer's other streams to negotiate: that holds up this peer's streams
// only, and an honest peer's are through in a moment.
func (g *guard) OpenStream(p peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if dir != network.DirInbound {
		scope, err := g.ResourceManager.OpenStream(p, dir)
		if err != nil {
			return nil, err
		}
		return accountScope{scope, g}, nil
	}
	if !g.streams.begin(p) {
		g.refusedStream("negotiating", p, ErrNegotiating)
		return nil, fmt.Errorf("%w: %w", ErrNegotiating, network.ErrResourceLimitExceeded)
	}
	scope, err := g.ResourceManager.OpenStream(p, dir)
	if err != nil {
		g.streams.end(p)
		g.refusedStream("limit", p, err)
		return nil, err
	}
	return &streamScope{accountScope: accountScope{scope, g}, peer: p}, nil
}

// VerifySourceAddress tells whether a QUIC newcomer has to prove its address.
func (g *guard) VerifySourceAddress(addr net.Addr) bool {
	return g.conns.suspicious() || g.ResourceManager.VerifySourceAddress(addr)
}

func (g *guard) refusedConn(reason string, remote ma.Multiaddr, err error) {
	g.obs.Counter(obs.ConnsRefused + reason).Inc(1)
	g.obs.WarnLimited("host", reason, fields("remote", remote, err), "inbound connection refused")
}

// crowded counts a connection refused for the number of its peer's, and tells
// the owner of the host.
func (g *guard) crowded(p peer.ID, remote ma.Multiaddr, err error) {
	g.refusedConn("peer_limit", remote, err)
	if g.tell != nil {
		g.tell(p, remote)
	}
}

func (g *guard) refusedStream(reason string, p peer.ID, err error) {
	g.obs.Counter(obs.StreamsRefused + reason).Inc(1)
	g.obs.WarnLimited("host", reason, fields("peer", p, err), "inbound stream refused")
}

func fields(name string, v any, err error) map[string]any {
	return map[string]any{name: v, "error": obs.Clean(err.Error())}
}

// connScope ends the handshake's share once the peer is known.
type connScope struct {
	network.ConnManagementScope
	guard     *guard
	dir       network.Direction
	remote    ma.Multiaddr
	handshake *handshake // nil for outbound connections
}

func (s *connScope) SetPeer(p peer.ID) error {
	err := s.ConnManagementScope.SetPeer(p)
	if err == nil {
		s.handshake.end()
		return nil
	}
	if s.dir == network.DirInbound {
		s.guard.crowded(p, s.remote, fmt.Errorf("%w: %s: %w", ErrTooManyConns, p, err))
	}
	return err
}

func (s *connScope) Done() {
	s.handshake.end()
	s.ConnManagementScope.Done()
}

// sharedAccount stands for the protocols that have no limit of their own.
const sharedAccount protocol.ID = "streams"

// accountScope puts a stream on the account of its protocol.
type accountScope struct {
	network.StreamManagementScope
	guard *guard
}

func (s accountScope) SetProtocol(id protocol.ID) error {
	if _, own := s.guard.limited[id]; !own {
		id = sharedAccount
	}
	return s.StreamManagementScope.SetProtocol(id)
}

// streamScope gives the peer's share back once an inbound stream has a protocol.
type streamScope struct {
	accountScope
	peer peer.ID
	once sync.Once
}

func (s *streamScope) SetProtocol(id protocol.ID) error {
	if err := s.accountScope.SetProtocol(id); err != nil {
		return err
	}
	s.end()
	return nil
}

func (s *streamScope) Done() {
	s.end()
	s.StreamManagementScope.Done()
}

func (s *streamScope) end() { s.once.Do(func() { s.guard.streams.end(s.peer) }) }

// negotiations counts the streams of each peer that have no protocol yet.
type negotiations struct {
	share int
	done  chan struct{}
	stop  func()

	mu    sync.Mutex // guards peers and the refs in it
	peers map[peer.ID]*slots
}

// slots is the share of one peer; it lives while somebody holds or wants one.
type slots struct {
	sem  chan struct{}
	refs int
}

func newNegotiations(share int) *negotiations {
	n := &negotiations{share: share, done: make(chan struct{}), peers: make(map[peer.ID]*slots)}
	n.stop = sync.OnceFunc(func() { close(n.done) })
	return n
}

func (n *negotiations) close() { n.stop() }

// negotiateWait is how long a stream waits for a slot. libp2p gives up on
// negotiating a stream after 10 s, so slots come free by then.
const negotiateWait = 12 * time.Second

// begin takes a slot of p's share, waiting for one if it must. False means
// that none came free.
func (n *negotiations) begin(p peer.ID) bool {
	n.mu.Lock()
	s := n.peers[p]
	if s == nil {
		s = &slots{sem: make(chan struct{}, n.share)}
		n.peers[p] = s
	}
	s.refs++
	n.mu.Unlock()

	select {
	case s.sem <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(negotiateWait)
	defer t.Stop()
	select {
	case s.sem <- struct{}{}:
		return true
	case <-t.C:
	case <-n.done:
	}
	n.unref(p, s)
	return false
}

// end gives a slot back.
func (n *negotiations) end(p peer.ID) {
	n.mu.Lock()
	s := n.peers[p]
	n.mu.Unlock()
	<-s.sem
	n.unref(p, s)
}

func (n *negotiations) unref(p peer.ID, s *slots) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.refs--; s.refs == 0 {
		delete(n.peers, p)
	}
}

var _ network.ResourceManager = (*guard)(nil)
