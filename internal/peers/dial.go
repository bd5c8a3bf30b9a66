package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/sirupsen/logrus"
)

// sweepEvery is how often what is over is forgotten.
const sweepEvery = time.Minute

// kick makes the loop look for due targets.
func (m *Manager) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// loop starts the dials. It is started by Start and ends with Close.
func (m *Manager) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake: // a target was added or planned, or a dial has ended
		case <-timer.C: // a target is due
		case now := <-sweep.C:
			m.mu.Lock()
			m.sweepLocked(now)
			m.mu.Unlock()
			m.gate.sweep(now)
		}
		if wait := m.startDue(); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// startDue starts the dials that are due and tells when to look again.
func (m *Manager) startDue() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0
	}
	for now := time.Now(); ; {
		chosen, wait := pick(m.targets, now, m.cfg.MaxDials-m.dialling)
		putOff := false
		for _, t := range chosen {
			if !m.mayDialLocked(t, now) {
				putOff = true
				continue
			}
			t.dialling, t.due = true, time.Time{}
			m.dialling++
			ai := peer.AddrInfo{ID: t.id, Addrs: slices.Clone(t.addrs)}
			m.wg.Go(func() { m.dial(t, ai) })
		}
		if !putOff {
			return wait
		}
		// Those put off, which are not due any more, stood before others.
	}
}

// mayDialLocked tells whether a due target is dialled. If not, it has been put
// off or dropped, or needs no dial.
func (m *Manager) mayDialLocked(t *target, now time.Time) bool {
	if until, banned := m.bannedLocked(t.id, now); banned {
		t.due = until
		return false
	}
	if m.entries[t.id] != nil {
		t.due = time.Time{} // the end of what there is plans the next dial
		return false
	}
	if m.reserved[t.id] || m.roomLocked() > 0 {
		return true
	}
	if !t.persistent {
		m.forgetLocked(t) // discovery will name it, or a better one, again
		return false
	}
	t.due = now.Add(fullWait + time.Duration(m.cfg.Rand()*float64(fullWait)))
	return false
}

// Room is the number of peers that may still be dialled.
func (m *Manager) Room() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(0, m.roomLocked())
}

// roomLocked counts a dial that has no ticket yet as a peer.
func (m *Manager) roomLocked() int {
	room := m.cfg.MaxPeers - m.inbound - m.outbound
	for _, t := range m.targets {
		if t.dialling && m.entries[t.id] == nil {
			room--
		}
	}
	return room
}

// dial makes one attempt.
func (m *Manager) dial(t *target, ai peer.AddrInfo) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.DialTimeout)
	err := m.cfg.Connect(ctx, ai)
	cancel()
	r := dialReason(err)
	m.cfg.Obs.Counter(obs.Dials + r.Label()).Inc(1)
	m.mu.Lock()
	keep := t.persistent || m.reserved[t.id]
	m.dialling--
	t.dialling = false
	// The target may have been removed, and even added anew, meanwhile; the
	// session it was for may stand, or be under way from the other side.
	if m.targets[t.id] == t && m.entries[t.id] == nil && !m.closed {
		if err == nil {
			r = handshake.ReasonTransportLost // the session has ended already
		}
		m.planLocked(t, ending{reason: r, byRemote: refusedByRemote(err)})
	}
	m.mu.Unlock()
	m.kick()
	if err != nil {
		m.logFailed(ai, keep, err)
	}
}

// logFailed logs an attempt that has failed. Where another peer answers in place
// of one to keep, somebody has the wrong address or lost a key: that is a warning.
func (m *Manager) logFailed(ai peer.AddrInfo, keep bool, err error) {
	fields := logrus.Fields{"peer": ai.ID.String(), "addrs": len(ai.Addrs), "error": dialCauses(err)}
	m.cfg.Obs.Log("peers").WithFields(fields).Debug("dial failed")
	if other, ok := errors.AsType[sec.ErrPeerIDMismatch](err); ok && keep {
		fields["answers"] = other.Actual.String()
		m.cfg.Obs.WarnLimited("peers", "mismatch/"+ai.ID.String(), fields, "another peer answers at the address of this one")
	}
}

// maxCauses bounds the addresses that one log line is about.
const maxCauses = 4

// dialCauses is what went wrong: at each address, where the host says so.
func dialCauses(err error) []string {
	failed, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(failed.DialErrors) == 0 {
		return []string{obs.Clean(err.Error())}
	}
	var causes []string
	for _, e := range failed.DialErrors[:min(len(failed.DialErrors), maxCauses)] {
		causes = append(causes, obs.Clean(fmt.Sprintf("%s: %v", e.Address, e.Cause)))
	}
	return causes
}

// dialReason is why an attempt failed: what is no refusal and no failed
// handshake did not even get a connection.
func dialReason(err error) handshake.Reason {
	r := handshake.ReasonOf(err)
	if _, ok := errors.AsType[handshake.Reason](err); !ok && r == handshake.ReasonTransportLost {
		return handshake.ReasonUnreachable
	}
	return r
}

func refusedByRemote(err error) bool {
	refused, ok := errors.AsType[*handshake.RefusedError](err)
	return ok && refused.ByRemote
}

// sortTargets puts persistent targets first, then the longest due.
func sortTargets(ts []*target) {
	slices.SortFunc(ts, func(a, b *target) int {
		if a.persistent != b.persistent {
			if a.persistent {
				return -1
			}
			return 1
		}
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.id, b.id))
	})
}
