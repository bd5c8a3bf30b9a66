package peers

import "github.com/go-nebnet/nebnet/internal/handshake"

func (m *Manager) slotsLocked() slots {
	return slots{max: m.limits.MaxPeers, maxInbound: m.limits.maxInbound(), inbound: m.inbound, outbound: m.outbound}
}

// slots is how many peers there may be and how many there are, handshakes
// under way included. A peer counts once.
type slots struct {
	max, maxInbound   int
	inbound, outbound int
}

// candidate is what admission needs to know of a peer.
type candidate struct {
	self     bool
	banned   bool
	reserved bool
	inbound  bool // it opened the hello
	counted  bool // it already has a slot
	crowded  bool // this node has chosen enough peers of its neighbourhood
}

// admit decides whether a peer gets a slot. Reserved peers pass over the
// maximum, and count: with them the total may exceed it.
func admit(s slots, c candidate) handshake.Reason {
	switch {
	case c.self:
		return handshake.ReasonSelf
	case c.banned:
		return handshake.ReasonBanned
	case c.reserved || c.counted:
		return handshake.ReasonNone
	case c.crowded:
		return handshake.ReasonTooManyPeers
	case s.inbound+s.outbound >= s.max:
		return handshake.ReasonTooManyPeers
	case c.inbound && s.inbound >= s.maxInbound:
		return handshake.ReasonTooManyPeers
	}
	return handshake.ReasonNone
}
