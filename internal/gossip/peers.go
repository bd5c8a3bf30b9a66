package gossip

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/go-nebnet/nebnet/internal/gossip/router"
)

// access is what a peer may do.
type access uint8

const (
	none    access = iota // nothing
	foreign               // take part in open topics
	member                // take part in all
)

// remote is a peer that is connected.
type remote struct {
	e  *Engine
	id peer.ID

	// Guarded by Engine.mu.
	access      access
	in          network.Stream // being read
	unread      network.Stream // not read before it is known what the peer may do
	opening     bool           // a goroutine is at it
	tries       int            // openings that failed since the last that did not
	notBefore   time.Time      // of the next opening
	unable      bool           // it speaks none of the protocols
	gone        bool
	slow        int64 // times that nobody waited for it any more
	bounded     bool  // the router has heard that it takes less of some type
	unvalidated bool  // the router has heard that it does not validate some type
	got, sent   traffic

	out *writer
}

// traffic counts messages and the bytes of their data.
type traffic struct{ messages, bytes int64 }

func (t *traffic) add(data []byte) {
	t.messages++
	t.bytes += int64(len(data))
}

// remoteLocked finds or makes a peer.
func (e *Engine) remoteLocked(p peer.ID) *remote {
	r := e.peers[p]
	if r == nil {
		r = &remote{e: e, id: p}
		r.out = newWriter(e, r)
		e.peers[p] = r
	}
	return r
}

// PeerJoined tells that Member now says yes to p. Until then nothing is said to
// p, and nothing heard.
func (e *Engine) PeerJoined(p peer.ID) { e.lookAgain(p) }

// PeerLeft tells that Member now says no to p.
func (e *Engine) PeerLeft(p peer.ID) { e.lookAgain(p) }

// lookAgain finds out what a peer may do, and acts on it.
func (e *Engine) lookAgain(p peer.ID) {
	for {
		st := e.accessOf(p)
		e.setAccess(p, st)
		if e.accessOf(p) == st {
			return // and did not change meanwhile
		}
	}
}

// accessOf decides what a peer may do.
func (e *Engine) accessOf(p peer.ID) access {
	n := e.cfg.Host.Network()
	switch {
	case n.Connectedness(p) != network.Connected:
		return none
	case e.cfg.Member == nil || e.cfg.Member(p):
		return member
	case e.openTopics.Load() > 0 && now().Sub(oldest(n.ConnsToPeer(p))) >= e.cfg.ForeignAfter:
		return foreign
	}
	return none
}

// tellAccessLocked tells the router what a peer may take part in, and first what it takes.
func (e *Engine) tellAccessLocked(r *remote, out *outcome) {
	types := e.table.Load().byType
	for _, typ := range slices.Sorted(maps.Keys(types)) {
		e.offerLocked(r, types[typ], out)
	}
	e.stepLocked(router.Event{Kind: router.Member, Peer: r.id, On: r.access == member}, out)
}

// offerLocked tells the router how much a peer takes of a type, and whether it validates it.
func (e *Engine) offerLocked(r *remote, t *topic, out *outcome) {
	unjudged := r.access == member && e.cfg.Unvalidated != nil && e.cfg.Unvalidated(r.id, t.Type)
	if unjudged || r.unvalidated {
		r.unvalidated = true
		e.stepLocked(router.Event{Kind: router.Unvalidated, Peer: r.id, Topic: t.Name, On: unjudged}, out)
	}
	most := 0
	if r.access == member && e.cfg.Most != nil {
		most = e.cfg.Most(r.id, t.Type)
	}
	switch {
	case most >= t.set().MaxSize:
		most = 0
	case most > 0 && t.stamps:
		most += stampLen
	}
	if most > 0 || r.bounded {
		r.bounded = true
		e.stepLocked(router.Event{Kind: router.Bound, Peer: r.id, Topic: t.Name, Most: most}, out)
	}
}

// OfferChanged tells that Config.Most or Config.Unvalidated now says something else of a
// peer and a type.
func (e *Engine) OfferChanged(p peer.ID, typ string) {
	t := e.byType(typ)
	if t == nil {
		return
	}
	var out outcome
	e.mu.Lock()
	if r := e.peers[p]; r != nil {
		e.offerLocked(r, t, &out)
	}
	e.unlock()
	e.validateAll(&out)
}

// RulesChanged tells that Config.Unvalidated now says something else of a type.
func (e *Engine) RulesChanged(typ string) {
	if t := e.byType(typ); t != nil {
		e.offerAll(t)
	}
}

// offerAll does so for all peers: the type has been declared, or changed.
func (e *Engine) offerAll(t *topic) {
	var out outcome
	e.mu.Lock()
	for _, p := range slices.Sorted(maps.Keys(e.peers)) {
		e.offerLocked(e.peers[p], t, &out)
	}
	e.unlock()
	e.validateAll(&out)
}

// oldest is when the first of some connections was made.
func oldest(conns []network.Conn) time.Time {
	at := now()
	for _, c := range conns {
		if opened := c.Stat().Opened; opened.Before(at) {
			at = opened
		}
	}
	return at
}

func (e *Engine) setAccess(p peer.ID, st access) {
	var read func()
	e.mu.Lock()
	r := e.peers[p]
	if r == nil {
		if st == none || e.life.Err() != nil {
			e.unlock()
			return
		}
		r = e.remoteLocked(p)
	}
	if st != r.access {
		r.access = st
		r.unable, r.tries, r.notBefore = false, 0, time.Time{}
		var out outcome
		if st == none {
			e.shutLocked(r)
		} else {
			e.tellAccessLocked(r, &out)
		}
	}
	if st != none {
		if s := r.unread; s != nil {
			r.unread = nil
			read = e.beginReadLocked(r, s)
		}
		e.openLocked(r)
	}
	e.unlock()
	if read != nil {
		e.spawn(e.streams, read) // unless closing, which resets all streams
	}
}

// shutLocked ends all streams of a peer.
func (e *Engine) shutLocked(r *remote) {
	var out outcome
	e.closedLocked(r, &out)
	if r.in != nil {
		e.resetLocked(r.in)
		r.in = nil
		e.stepLocked(router.Event{Kind: router.Silent, Peer: r.id}, &out)
	}
	e.resetLocked(r.unread)
	r.unread = nil
}

// closedLocked ends the stream to a peer.
func (e *Engine) closedLocked(r *remote, out *outcome) {
	s := r.out.detach()
	if s == nil {
		return
	}
	e.resetLocked(s)
	e.loseLocked(r, r.out.close())
	e.stepLocked(router.Event{Kind: router.Closed, Peer: r.id}, out)
}

// disconnected forgets a peer of which no connection is left.
func (e *Engine) disconnected(p peer.ID) {
	e.mu.Lock()
	defer e.unlock()
	if r := e.peers[p]; r != nil && e.cfg.Host.Network().Connectedness(p) != network.Connected {
		e.shutLocked(r)
		r.gone = true
		delete(e.peers, p)
	}
}

// protocolsChanged tries again with a peer that did not speak the protocols.
func (e *Engine) protocolsChanged(p peer.ID) {
	e.mu.Lock()
	if r := e.peers[p]; r != nil {
		r.unable, r.tries, r.notBefore = false, 0, time.Time{}
	}
	e.mu.Unlock()
	e.lookAgain(p)
}

// admitForeigners lets peers take part in open topics that did not become members
// in time.
func (e *Engine) admitForeigners() {
	for _, p := range e.cfg.Host.Network().Peers() {
		e.mu.Lock()
		r := e.peers[p]
		known := r != nil && r.access != none
		e.mu.Unlock()
		if !known {
			e.lookAgain(p)
		}
	}
}

// SetDirect makes a peer a direct one, or not. Direct peers are sent every message and
// are taken from whatever their score is. The other side should have this node as direct
// peer too. The engine does not dial them.
func (e *Engine) SetDirect(p peer.ID, on bool) error {
	if !e.calls.enter() {
		return ErrClosed
	}
	defer e.calls.leave()
	e.step(router.Event{Kind: router.Direct, Peer: p, On: on})
	return nil
}

// addrsOf are the addresses that a peer shares with others: IPv4 whole, of IPv6 the
// /64. The loopback is shared by nobody.
func addrsOf(conns []network.Conn) (names []string) {
	for _, c := range conns {
		ip, err := manet.ToIP(c.RemoteMultiaddr())
		if c.Stat().Limited || err != nil || ip.IsLoopback() {
			continue
		}
		a, _ := netip.AddrFromSlice(ip)
		name := a.Unmap().String()
		if a = a.Unmap(); a.Is6() {
			if prefix, err := a.Prefix(64); err == nil {
				name = prefix.String()
			}
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// notifiee tells an engine of connections.
type notifiee Engine

var _ network.Notifiee = (*notifiee)(nil)

// Connected looks whether the peer may take part.
func (n *notifiee) Connected(_ network.Network, c network.Conn) {
	e := (*Engine)(n)
	if e.cfg.Member == nil || e.cfg.Member(c.RemotePeer()) {
		e.lookAgain(c.RemotePeer())
	}
}

// Disconnected forgets the peer.
func (n *notifiee) Disconnected(_ network.Network, c network.Conn) {
	(*Engine)(n).disconnected(c.RemotePeer())
}

// Listen is ignored.
func (n *notifiee) Listen(network.Network, ma.Multiaddr) {}

// ListenClose is ignored.
func (n *notifiee) ListenClose(network.Network, ma.Multiaddr) {}
