package peers

import (
	"net/netip"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/network"
)

func (m *Manager) slotsLocked() slots {
	return slots{max: m.limits.MaxPeers, maxInbound: m.limits.maxInbound(), inbound: m.inbound, outbound: m.outbound}
}

// slots is how many peers there may be and how many there are, own handshakes
// under way included. A peer counts once.
type slots struct {
	max, maxInbound   int
	inbound, outbound int
}

// free is how many more peers there may be. Peers to keep that came in when the
// inbound slots were taken do not count: they would take those that are left for
// peers of this node's own choice, and it would never be at its target again.
func (s slots) free() int { return s.max - min(s.inbound, s.maxInbound) - s.outbound }

// candidate is what admission needs to know of a peer.
type candidate struct {
	self       bool
	banned     bool
	kept       bool // reserved or persistent: the operator's choice
	inbound    bool // it opened the hello
	counted    bool // it already has a slot
	shareTaken bool // there are enough peers of its address, neighbourhood or system
}

// admit decides whether a peer gets a slot. Peers to keep pass over the
// maximum, and count: with them the total may exceed it.
func admit(s slots, c candidate) handshake.Reason {
	switch {
	case c.self:
		return handshake.ReasonSelf
	case c.banned:
		return handshake.ReasonBanned
	case c.kept || c.counted:
		return handshake.ReasonNone
	case c.shareTaken:
		return handshake.ReasonTooManyPeers
	case s.free() <= 0:
		return handshake.ReasonTooManyPeers
	case c.inbound && s.inbound >= s.maxInbound:
		return handshake.ReasonTooManyPeers
	}
	return handshake.ReasonNone
}

// inboundShare is how many of the inbound slots may be of one address, of one
// neighbourhood and of one autonomous system: an eighth, a quarter and a half, but
// never less than 2, 4 and 8.
func inboundShare(maxInbound int) (address, group, system int) {
	return max(2, maxInbound/8), max(4, maxInbound/4), max(8, maxInbound/2)
}

// shareTakenLocked tells whether an address, its neighbourhood, or its autonomous
// system, has its share of the inbound slots.
func (m *Manager) shareTakenLocked(ip netip.Addr) bool {
	group := m.groupOf(ip)
	if !group.IsValid() {
		return false
	}
	from := providerOf(group, m.systems)
	ofAddress, ofGroup, ofSystem := inboundShare(m.limits.maxInbound())
	for _, e := range m.entries {
		if !e.takesSlot() || !e.inbound() {
			continue
		}
		g := e.group()
		if from.asn != 0 && providerOf(g, m.systems) == from {
			ofSystem--
		}
		if g == group {
			ofGroup--
			if e.live.ip == ip {
				ofAddress--
			}
		}
	}
	return ofAddress <= 0 || ofGroup <= 0 || ofSystem <= 0
}

// candidateLocked is what admission needs to know of the peer of an admission.
func (m *Manager) candidateLocked(t *Admission) candidate {
	c := candidate{
		self: t.p == m.cfg.Self, kept: m.targets[t.p] != nil,
		inbound: t.dir == network.DirInbound, counted: m.entries[t.p].takesSlot(),
	}
	if c.inbound {
		c.shareTaken = m.shareTakenLocked(t.ip)
	} else {
		c.shareTaken = m.spreadLocked(t.p).full(m.groupOf(t.ip))
	}
	return c
}

// placeLocked tells whether there is a slot for the peer of an admission. For an
// inbound peer a session that is worth less may give way: with take it does.
func (m *Manager) placeLocked(t *Admission, c candidate, now time.Time, take bool) (r handshake.Reason, evicted []func()) {
	r = admit(m.slotsLocked(), c)
	if r != handshake.ReasonTooManyPeers || !c.inbound || c.shareTaken {
		return r, nil
	}
	evicted, ok := m.replaceForLocked(t, now, take)
	switch {
	case !ok:
		return r, nil
	case take:
		r = admit(m.slotsLocked(), c)
		return r, evicted
	}
	return handshake.ReasonNone, nil
}
