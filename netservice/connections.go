package netservice

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

// Connected is called by libp2p for every new connection, before any stream.
// Whoever dialled says hello; on the other side the connection waits for that.
func (s *peerSet) Connected(_ network.Network, c network.Conn) {
	if c.Stat().Limited {
		return // relayed for coordination only
	}
	if c.Stat().Direction == network.DirOutbound {
		s.shake(c)
		return
	}
	s.arrived(c)
}

// Disconnected is called by libp2p; a session notices by its own streams.
func (s *peerSet) Disconnected(_ network.Network, c network.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decidedLocked(c)
}

// Listen and ListenClose are of no interest.
func (s *peerSet) Listen(network.Network, ma.Multiaddr)      {}
func (s *peerSet) ListenClose(network.Network, ma.Multiaddr) {}

// connect dials a peer and waits for the outcome of the handshake, no longer
// than a handshake may take. It is how package peers dials.
func (s *peerSet) connect(ctx context.Context, ai peer.AddrInfo) error {
	if ai.ID == s.n.id {
		return handshake.ReasonSelf
	}
	if s.has(ai.ID) {
		return nil
	}
	w := s.begin(ai.ID, false)
	defer w.end()
	s.n.awaitPunching(ctx, w, ai.Addrs)
	if s.has(ai.ID) {
		return nil
	}
	// When to try again is the peer manager's decision, not that of libp2p's
	// own dial back-off.
	if n, ok := s.n.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		n.Backoff().Clear(ai.ID)
	}
	if err := s.n.host.Connect(ctx, ai); err != nil {
		return fmt.Errorf("%w: %w", handshake.ReasonUnreachable, err)
	}
	if s.has(ai.ID) {
		return nil
	}
	// The connection may be older than this call: then nobody says hello on it
	// unless we do.
	for _, c := range s.n.host.Network().ConnsToPeer(ai.ID) {
		if s.mayOpen(c) {
			s.shake(c)
		}
	}
	return w.outcome(ctx)
}

// mayOpen tells whether a hello may be opened on a connection that stands. That
// is for the side that dialled; but where connections outlive sessions, because
// the hosts are the programs' own, the other side would wait for ever.
func (s *peerSet) mayOpen(c network.Conn) bool {
	return !c.Stat().Limited && (c.Stat().Direction == network.DirOutbound || s.n.opts.host != nil)
}

// hangUp closes a connection that no session is on, nor will soon be, unless it
// is of a host that is not ours.
func (s *peerSet) hangUp(c network.Conn) {
	if s.n.opts.host != nil {
		return
	}
	s.mu.Lock()
	used := s.usedLocked(c)
	s.mu.Unlock()
	if !used {
		c.Close()
	}
}

// sweepEvery is how often connections are looked for that nobody uses.
const sweepEvery = 30 * time.Second

// sweep closes connections beside that of the session which carried no stream at two
// looks in a row, such as the second one of a simultaneous dial, or of the end of a
// partition. It runs on the sweeper's goroutine.
func (s *peerSet) sweep() {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	s.repunch()
	idle := make(map[network.Conn]bool)
	for _, k := range s.all() {
		for _, c := range s.n.host.Network().ConnsToPeer(k.id) {
			if c == k.conn || len(c.GetStreams()) > 0 {
				continue
			}
			if s.idle[c] {
				s.hangUp(c)
				continue
			}
			idle[c] = true
		}
	}
	s.idle = idle
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.sweeper.Reset(sweepEvery)
	}
}

// forgetAfter leaves identify, which may still be at work on a connection that
// is being closed, the time to end.
const forgetAfter = 5 * time.Second

// forgetLater takes a peer that can never be one of ours out of libp2p's
// address book.
func (s *peerSet) forgetLater(p peer.ID) {
	if s.n.opts.host != nil {
		return // the program may know the peer for reasons of its own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(forgetAfter, func() {
		s.mu.Lock()
		if !s.forgetting[t] { // the set is closing
			s.mu.Unlock()
			return
		}
		delete(s.forgetting, t)
		s.wg.Add(1)
		s.mu.Unlock()
		defer s.wg.Done()
		if h := s.n.host; h.Network().Connectedness(p) != network.Connected {
			h.Peerstore().ClearAddrs(p)
			h.Peerstore().RemovePeer(p)
		}
	})
	s.forgetting[t] = true
}
