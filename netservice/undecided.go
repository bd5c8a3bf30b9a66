package netservice

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/peers/book"
)

const (
	// helloWait is how long an inbound connection may go without a hello, unless a
	// whole handshake has less time.
	helloWait = 5 * time.Second
	// minUndecided is the least that the pool of undecided connections holds.
	minUndecided = 64
)

// undecided is an inbound connection from its beginning to the end of its
// handshake. A hello is not a peer yet: these have a pool of their own, so that
// those who never finish one take no place of a peer, and a short time.
type undecided struct {
	since time.Time
	group netip.Prefix // the neighbourhood that it is from
	kept  bool         // the peer is reserved or persistent
	timer *time.Timer  // until the hello must have come; nil after that
}

// evict chooses which of the undecided connections makes room when there are too
// many: the oldest one of the neighbourhood with the most. An honest peer is
// decided in a few round trips and is not the oldest for long. Peers to keep go
// when there are no others.
func evict[C comparable](pool map[C]*undecided) (worst C) {
	perGroup := make(map[netip.Prefix]int)
	for _, u := range pool {
		perGroup[u.group]++
	}
	var found *undecided
	for c, u := range pool {
		if found == nil || cmp.Or(kept(u)-kept(found), perGroup[found.group]-perGroup[u.group], u.since.Compare(found.since)) < 0 {
			worst, found = c, u
		}
	}
	return worst
}

func kept(u *undecided) int {
	if u.kept {
		return 1
	}
	return 0
}

// arrived takes an inbound connection into the pool, in the place of another one
// when it is full.
func (s *peerSet) arrived(c network.Conn) {
	p := c.RemotePeer()
	u := &undecided{since: time.Now(), kept: s.n.peers.Reserved(p) || s.n.peers.Persistent(p)}
	if ip, ok := book.IP(c.RemoteMultiaddr()); ok {
		u.group = book.GroupOf(ip)
	}
	s.mu.Lock()
	if s.closing || s.undecided[c] != nil || c.IsClosed() {
		s.mu.Unlock()
		return
	}
	var victim network.Conn
	if len(s.undecided) >= max(minUndecided, s.n.cfg.MaxPeers) && s.n.opts.host == nil {
		victim = evict(s.undecided)
		s.decidedLocked(victim)
		s.wg.Add(1)
	}
	s.undecided[c] = u
	u.timer = time.AfterFunc(min(helloWait, timeout(s.n.cfg.HandshakeTimeout)), func() { s.noHello(c) })
	s.mu.Unlock()
	if victim != nil {
		go func() {
			defer s.wg.Done()
			s.n.peers.NoteRefused(victim.RemotePeer(), network.DirInbound, handshake.ReasonTooManyPeers)
			victim.Close()
		}()
	}
}

// helloCameLocked ends the wait for a hello on a connection.
func (s *peerSet) helloCameLocked(c network.Conn) {
	if u := s.undecided[c]; u != nil && u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
}

// decidedLocked takes a connection out of the pool.
func (s *peerSet) decidedLocked(c network.Conn) {
	s.helloCameLocked(c)
	delete(s.undecided, c)
	if e := s.view.Load().entries[c.RemotePeer()]; e != nil {
		s.changedLocked(c.RemotePeer(), e)
	}
}

// awaitsHelloLocked tells whether a hello may still come on a connection.
func (s *peerSet) awaitsHelloLocked(c network.Conn) bool {
	u := s.undecided[c]
	return u != nil && u.timer != nil
}

// awaitsPeerLocked tells whether a peer may say hello on some connection.
func (s *peerSet) awaitsPeerLocked(p peer.ID) bool {
	for c, u := range s.undecided {
		if u.timer != nil && c.RemotePeer() == p {
			return true
		}
	}
	return false
}

// noHello closes an inbound connection on which no hello came. It runs on the
// timer's goroutine.
func (s *peerSet) noHello(c network.Conn) {
	s.mu.Lock()
	if !s.awaitsHelloLocked(c) { // it came, or the set is closing
		s.mu.Unlock()
		return
	}
	s.decidedLocked(c)
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	if s.n.opts.host != nil || s.has(c.RemotePeer()) || s.n.servesStrangers() {
		return
	}
	s.n.peers.NoteRefused(c.RemotePeer(), network.DirInbound, handshake.ReasonTimeout)
	c.Close()
}
