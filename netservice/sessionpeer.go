package netservice

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/peers"
	"github.com/go-nebnet/nebnet/internal/session"
)

// sessionPeer is a peer with a session.
type sessionPeer struct {
	id        peer.ID
	name      string // the ID as text, as in Message.MessageFrom
	number    string // names the session in the logs of both sides
	conn      network.Conn
	session   *session.Session
	admission *peers.Admission
	since     time.Time
	opener    bool // this node opened the hello

	// What the peer's hello says, apart from what was checked.
	version      uint32 // the highest that both speak
	agent        string
	capabilities []string
	payload      atomic.Pointer[[]byte] // as it was renewed last
	tag          string                 // under which libp2p's connection manager keeps the peer
}

// onSession makes the session of a handshake that of its peer, and watches over
// its end. The set has it before anybody hears of it, so that whoever hears can
// send to it; and it has none that the peer manager turned down.
func (s *peerSet) onSession(x *handshaking, k *sessionPeer, payload []byte) {
	n := s.n
	k.payload.Store(&payload)
	s.wg.Add(1)
	reason := k.admission.Commit(func(r handshake.Reason) { s.part(k, r) }, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.made++
		k.tag = fmt.Sprintf("nebnet-%d", s.made)
		if x.e.payload != nil {
			k.payload.Store(x.e.payload)
			x.e.payload = nil
		}
		s.putLocked(x.e, k)
		s.decidedLocked(k.conn)
		x.overLocked()
	})
	if reason != handshake.ReasonNone {
		x.failed(&handshake.RefusedError{Reason: reason})
	} else {
		// The number of peers is decided by admission alone.
		n.host.ConnManager().Protect(k.id, k.tag)
		n.obs.InfoLimited("peerset", "connected", logrus.Fields{
			"peer": k.name, "session": k.number, "addr": k.conn.RemoteMultiaddr().String(), "agent": k.agent,
		}, "peer connected")
		n.exchange.Met(k.id)
		n.swarm.PeerChanged(k.id)
		n.gossip.PeerJoined(k.id)
	}
	k.session.AfterDone(func() {
		defer s.wg.Done()
		s.onClosed(k)
	})
	if reason != handshake.ReasonNone {
		k.session.Close(reason)
	}
}

// part closes a session for package peers, which must not wait for it: a peer
// that does not hang up takes seconds, one after the other they would take as
// many times that, and the caller may be a goroutine of the session itself.
func (s *peerSet) part(k *sessionPeer, r handshake.Reason) {
	s.mu.Lock()
	closing := s.closing
	if !closing {
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if closing {
		return // the engine ends all sessions
	}
	go func() {
		defer s.wg.Done()
		k.session.Close(r)
	}()
}

// onClosed cleans up after a session. A newer one with the same peer is not
// touched.
func (s *peerSet) onClosed(k *sessionPeer) {
	n := s.n
	reason, byRemote := k.session.Reason()
	s.mu.Lock()
	last := false
	if e := s.view.Load().entries[k.id]; e != nil { // else it was never in the set
		last = s.removeLocked(e, k)
		s.changedLocked(k.id, e)
	}
	s.mu.Unlock()
	if last {
		n.exchange.Parted()
		n.gossip.PeerLeft(k.id)
		n.swarm.PeerChanged(k.id)
		n.requests.SessionEnded(k.id)
	}
	if k.tag != "" {
		n.host.ConnManager().Unprotect(k.id, k.tag)
		n.obs.InfoLimited("peerset", "disconnected/"+reason.Label(), logrus.Fields{
			"peer": k.name, "session": k.number, "reason": reason.Label(), "by_peer": byRemote,
		}, "peer disconnected")
	}
	k.admission.Say(k.session.Text())
	k.admission.Release(reason, byRemote)
	s.hangUp(k.conn)
	if last {
		s.hangUpOnIdle(k.id)
		s.endTunnels(k.id)
	}
}

// hangUpOnIdle closes what connections are left with a peer that has lost its
// session. Those on which a hello is under way, or may still come, are left:
// it may be the next session's, before which the last one gave way.
func (s *peerSet) hangUpOnIdle(p peer.ID) {
	for _, c := range s.n.host.Network().ConnsToPeer(p) {
		if s.has(p) {
			return
		}
		s.hangUp(c)
	}
}

// info describes the peer to the user.
func (k *sessionPeer) info(reserved bool) PeerInfo {
	dir := network.DirInbound
	if k.opener {
		dir = network.DirOutbound
	}
	st := k.session.Stats()
	return PeerInfo{
		ID: k.id, Addr: k.conn.RemoteMultiaddr(), Direction: dir,
		Agent: k.agent, Capabilities: k.capabilities,
		Version: k.version, Payload: *k.payload.Load(), Session: k.number,
		Since: k.since, RTT: st.RTT, Reserved: reserved, QueueBytes: st.Send.PendingBytes,
		Differing: differences(k.session.Differences()),
	}
}
