package netservice

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/peers"
	"github.com/go-nebnet/nebnet/internal/session"
)

// link is a peer with a session.
type link struct {
	id      peer.ID
	name    string // the ID as text, as in Message.MessageFrom
	conn    network.Conn
	session *session.Session
	ticket  *peers.Ticket
	since   time.Time
	opener  bool // this node opened the hello

	// What the peer's hello says, apart from what was checked.
	version      uint32 // the highest that both speak
	agent        string
	capabilities []string
	payload      []byte
	tag          string // under which libp2p's connection manager keeps the peer
}

// adopt makes a link live at the end of its handshake, in place of an older one
// to the same peer, and watches over its end. It is live before anybody hears of
// it, so that whoever hears can send to it.
func (l *links) adopt(x *shaking, k *link) {
	n := l.n
	l.mu.Lock()
	l.overLocked(x)
	l.live.Store(l.live.Load().with(k))
	l.made++
	k.tag = fmt.Sprintf("nebnet-%d", l.made)
	l.wg.Add(1)
	l.mu.Unlock()
	// The number of peers is decided by admission alone.
	n.host.ConnManager().Protect(k.id, k.tag)
	k.session.AfterDone(func() {
		defer l.wg.Done()
		l.bury(k)
	})
	if r := k.ticket.Commit(func(r handshake.Reason) { l.part(k, r) }); r != handshake.ReasonNone {
		k.session.Close(r)
		return
	}
	n.obs.Log("links").WithField("peer", k.name).WithField("addr", k.conn.RemoteMultiaddr().String()).
		WithField("agent", k.agent).Debug("peer connected")
	l.announce(k.id, nil)
	n.exchange.Met(k.id)
	n.gossip.PeerJoined(k.id)
}

// part closes a session for package peers, which must not wait for it: a peer
// that does not hang up takes seconds, one after the other they would take as
// many times that, and the caller may be a goroutine of the session itself.
func (l *links) part(k *link, r handshake.Reason) {
	l.mu.Lock()
	closing := l.closing
	if !closing {
		l.wg.Add(1)
	}
	l.mu.Unlock()
	if closing {
		return // the engine ends all sessions
	}
	go func() {
		defer l.wg.Done()
		k.session.Close(r)
	}()
}

// bury cleans up after a session. A newer link to the same peer is not touched.
func (l *links) bury(k *link) {
	n := l.n
	reason, byRemote := k.session.Reason()
	l.mu.Lock()
	last := l.session(k.id) == k
	if last {
		l.live.Store(l.live.Load().without(k))
	}
	l.mu.Unlock()
	n.host.ConnManager().Unprotect(k.id, k.tag)
	if last {
		n.gossip.PeerLeft(k.id)
	}
	n.obs.Log("links").WithField("peer", k.name).WithField("reason", reason.Label()).
		WithField("by_peer", byRemote).Debug("peer disconnected")
	k.ticket.Release(reason, byRemote)
	l.hangUpOn(k.conn)
	if last {
		l.hangUpOnIdle(k.id)
		l.endTunnels(k.id)
	}
}

// hangUpOnIdle closes what connections are left with a peer that has lost its
// session. Those on which a hello is under way, or may still come, are left:
// it may be the next session's, before which the last one gave way.
func (l *links) hangUpOnIdle(p peer.ID) {
	for _, c := range l.n.host.Network().ConnsToPeer(p) {
		l.mu.Lock()
		busy := l.session(p) != nil || l.shaking[c] != nil || l.silent[c] != nil
		l.mu.Unlock()
		if !busy {
			l.hangUpOn(c)
		}
	}
}

// info describes the link to the user.
func (k *link) info(reserved bool) PeerInfo {
	dir := network.DirInbound
	if k.opener {
		dir = network.DirOutbound
	}
	st := k.session.Stats()
	return PeerInfo{
		ID: k.id, Addr: k.conn.RemoteMultiaddr(), Direction: dir,
		Agent: k.agent, Capabilities: k.capabilities,
		Version: k.version, Payload: k.payload,
		Since: k.since, RTT: st.RTT, Reserved: reserved, QueueBytes: st.Send.PendingBytes,
	}
}
