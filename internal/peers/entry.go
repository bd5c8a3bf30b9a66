package peers

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// entry is what there is with one peer. It exists while it is not empty.
type entry struct {
	opening, answering, live *Admission
}

func (e *entry) admissions() []*Admission {
	var out []*Admission
	for _, t := range []*Admission{e.opening, e.answering, e.live} {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// takesSlot tells whether the peer takes a slot. One whose hello is being answered does
// not yet: whoever begins a handshake and does not finish it must not keep others
// out.
func (e *entry) takesSlot() bool { return e != nil && (e.opening != nil || e.live != nil) }

// inbound tells which kind of slot the peer takes.
func (e *entry) inbound() bool {
	return e.opening == nil && (e.live == nil || e.live.dir == network.DirInbound)
}

// group is the neighbourhood that the peer is connected from.
func (e *entry) group() netip.Prefix {
	for _, t := range []*Admission{e.live, e.opening, e.answering} {
		if t != nil && t.ip.IsValid() {
			return t.m.groupOf(t.ip)
		}
	}
	return netip.Prefix{}
}

func (e *entry) empty() bool { return e.opening == nil && e.answering == nil && e.live == nil }

// state is the entry as the rules of tie.go see it.
func (e *entry) state(now time.Time) peerState {
	l := peerState{opening: e.opening != nil}
	if e.answering != nil {
		l.answering = &contender{instance: e.answering.instance}
	}
	if e.live != nil {
		l.live = &contender{instance: e.live.instance, age: now.Sub(e.live.since), relayed: !e.live.direct()}
	}
	return l
}

// changeLocked alters the entry of a peer and keeps the counts and gauges.
func (m *Manager) changeLocked(p peer.ID, f func(*entry)) {
	e := m.entries[p]
	if e == nil {
		e = &entry{}
		m.entries[p] = e
	} else {
		m.countLocked(e, -1)
	}
	f(e)
	if e.empty() {
		delete(m.entries, p)
	} else {
		m.countLocked(e, 1)
	}
	m.sessions.Update(int64(m.liveIn + m.liveOut))
	m.sessionsIn.Update(int64(m.liveIn))
	m.sessionsOut.Update(int64(m.liveOut))
}

func (m *Manager) countLocked(e *entry, d int) {
	if !e.takesSlot() {
		return
	}
	if e.inbound() {
		m.inbound += d
	} else {
		m.outbound += d
	}
	switch {
	case e.live == nil:
	case e.live.dir == network.DirInbound:
		m.liveIn += d
	default:
		m.liveOut += d
	}
}
