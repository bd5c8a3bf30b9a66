package peers

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Standing is all that is known of a peer, here or not.
type Standing struct {
	Peer       peer.ID
	Connected  bool
	Handshake  bool // under way
	Dialling   bool
	Reserved   bool
	Persistent bool
	Value      Value     // of one that is connected
	Protected  string    // why a connected peer does not give way to others, empty when it may
	Ban        *book.Ban // that stands, of the peer or of an address of it
	Known      bool      // there is an entry in the address book
	Entry      book.Entry

	Last      handshake.Reason // why the last attempt or session ended, ReasonNone for never
	LastAt    time.Time
	ByRemote  bool   // the peer said so
	InSession bool   // it was a session that ended, not an attempt
	Detail    string // of a failed attempt, such as what each address answered; cleaned

	Next   time.Time // when it is tried next, zero for not planned
	Reason string    // why it is not connected, in words; empty when it is
}

// Why tells about a peer: whether it is here and, if not, why not.
func (m *Manager) Why(p peer.ID) Standing {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Standing{Peer: p, Reserved: m.reservedLocked(p), Persistent: m.targets[p] != nil, Dialling: m.tryingLocked(p)}
	if t := m.targets[p]; t != nil {
		s.Dialling = t.dialling
		s.Next = t.due
	}
	if e := m.entries[p]; e != nil {
		s.Connected, s.Handshake = e.live != nil, e.live == nil
		if e.live != nil {
			s.Value = m.recordLocked(e.live, now).value()
			s.Protected = m.protectionLocked(p, now)
		}
	}
	if e := m.book.Get(p); e != nil {
		s.Known, s.Entry = true, *e
		s.Entry.Addrs = slices.Clone(e.Addrs)
		if !s.Persistent && !s.Connected && e.Next.After(now) {
			s.Next = e.Next
		}
	}
	s.Ban = m.banOfLocked(p, now)
	if w, ok := m.words.get(p); ok {
		s.Last, s.LastAt, s.ByRemote, s.InSession, s.Detail = w.reason, w.at, w.byRemote, w.session, w.text
	}
	s.Reason = m.reasonLocked(&s, now)
	return s
}

func (m *Manager) banOfLocked(p peer.ID, now time.Time) *book.Ban {
	if x, ok := m.book.Ban(p); ok && now.Before(x.Until) {
		return &x
	}
	if m.targets[p] != nil || m.book.Get(p) == nil {
		return nil
	}
	for _, a := range m.book.Get(p).Multiaddrs() {
		if ip, ok := book.IP(a); ok {
			for _, x := range m.nets {
				if x.Prefix.Contains(ip) && now.Before(x.Until) {
					return &x
				}
			}
		}
	}
	return nil
}

// reasonLocked says why a peer is not connected: by which limit, and whose.
func (m *Manager) reasonLocked(s *Standing, now time.Time) string {
	a, avoided := m.avoidedLocked(s.Peer, now)
	e := m.book.Get(s.Peer)
	switch {
	case s.Connected:
		return ""
	case s.Peer == m.cfg.Self:
		return "it is this node itself"
	case m.closed:
		return "the node is stopping"
	case s.Handshake:
		return "a handshake with it is under way"
	case s.Ban != nil:
		return fmt.Sprintf("banned: %s, for %s more", banText(s.Ban), s.Ban.Until.Sub(now).Round(time.Second))
	case avoided:
		return fmt.Sprintf("it can be no peer of this node (%s), and is not tried for %s", a.reason, a.until.Sub(now).Round(time.Second))
	case s.Dialling:
		return "it is being dialled"
	case s.Persistent && m.targets[s.Peer].waiting && m.freeLocked() <= 0:
		return fmt.Sprintf("all %d places of this node are taken (MaxPeers)", m.limits.MaxPeers)
	case s.Persistent:
		return lastWords(s)
	case e == nil && s.Last != handshake.ReasonNone:
		return lastWords(s) + "; it is not in the address book"
	case e == nil:
		return "nothing is known of it"
	case !slices.ContainsFunc(e.Multiaddrs(), m.cfg.Allow):
		return "none of its addresses may be dialled by this node (PublicOnly)"
	case s.Next.After(now) && e.PutOff:
		return "its addresses were dialled too often on others' word: one on which there never was a peer is dialled 12 times an hour at most, and all of its neighbourhood 60 times"
	case s.Next.After(now):
		return lastWords(s)
	case m.freeLocked() <= 0:
		return fmt.Sprintf("all %d places of this node are taken (MaxPeers)", m.limits.MaxPeers)
	case m.toDialLocked(now) <= 0:
		return fmt.Sprintf("this node has %d peers of its own choice, and looks for no more (OutboundPeers)", m.outbound)
	case m.spreadLocked("").full(e.Group()):
		return m.spreadTextLocked(e.Group())
	case s.Last != handshake.ReasonNone:
		return lastWords(s)
	}
	return "it has not had its turn to be dialled"
}

func (m *Manager) spreadTextLocked(g netip.Prefix) string {
	s := m.spreadLocked("")
	if p := s.provider(g); s.systemFull(p) {
		return fmt.Sprintf("this node has chosen %d peers of its autonomous system AS%d, and takes no more", s.providers[p], p.asn)
	}
	return fmt.Sprintf("this node has chosen %d peers of its neighbourhood %s, and takes no more", s.groups[g], g)
}

func banText(x *book.Ban) string {
	text := x.Reason
	if text == "" {
		text = "no reason given"
	}
	if x.Prefix.IsValid() {
		text += ", all of " + x.Prefix.String()
	}
	return text
}

func lastWords(s *Standing) string {
	if s.Last == handshake.ReasonNone {
		return "it has not been dialled yet"
	}
	what, who := "the last attempt failed", ""
	if s.InSession {
		what = "the last session ended"
	}
	if s.ByRemote {
		who = ", it said"
	}
	text := fmt.Sprintf("%s%s: %s", what, who, s.Last)
	if s.Detail != "" {
		text += " (" + s.Detail + ")"
	}
	if s.Last == handshake.ReasonTransportLost && !s.InSession {
		text += "; it may have hung up before the handshake, as nodes do without a word whose limits of connections are reached"
	}
	return text
}

// protectionLocked says why a session peer does not give way to a newcomer.
func (m *Manager) protectionLocked(p peer.ID, now time.Time) string {
	e := m.entries[p]
	switch {
	case m.reservedLocked(p):
		return "reserved"
	case m.targets[p] != nil:
		return "persistent"
	case e.live.dir == network.DirOutbound:
		return "chosen by this node"
	}
	all := m.incumbentsLocked(now, true)
	why := ""
	for kind, ids := range protections(all) {
		if slices.Contains(ids, p) {
			why = kind
		}
	}
	return why
}

// Described is what of a session peer takes all of them to say.
type Described struct {
	Value      Value
	Protected  string
	Reserved   bool
	Persistent bool
	Last       handshake.Reason // how the session before it ended, or else the last attempt
}

// Describe describes all session peers at once.
func (m *Manager) Describe() map[peer.ID]Described {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[peer.ID]Described)
	safe := make(map[peer.ID]string)
	for kind, ids := range protections(m.incumbentsLocked(now, true)) {
		for _, p := range ids {
			safe[p] = kind
		}
	}
	for p, e := range m.entries {
		if e.live == nil {
			continue
		}
		d := Described{Value: m.recordLocked(e.live, now).value(), Protected: safe[p], Reserved: m.reservedLocked(p), Persistent: m.targets[p] != nil}
		if w, ok := m.words.get(p); ok {
			d.Last = cmp.Or(w.ended, w.reason)
		}
		switch {
		case d.Reserved:
			d.Protected = "reserved"
		case d.Persistent:
			d.Protected = "persistent"
		case e.live.dir == network.DirOutbound:
			d.Protected = "chosen by this node"
		}
		out[p] = d
	}
	return out
}

// Counts are how many peers there are.
type Counts struct {
	Inbound, Outbound, Known, Dialling int
	Groups                             map[netip.Prefix]int // of the peers that this node chose
}

// Counts counts the peers.
func (m *Manager) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Counts{Inbound: m.liveIn, Outbound: m.liveOut, Known: m.book.Len(), Dialling: m.dialling, Groups: m.spreadLocked("").groups}
}
