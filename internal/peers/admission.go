package peers

import (
	"errors"
	"net/netip"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// Admission is one admitted handshake and the session that may come of it. It is
// safe for concurrent use.
type Admission struct {
	text string // guarded by the lock of m; see Say
	m    *Manager
	p    peer.ID
	dir  network.Direction

	// Guarded by m.mu.
	state    admissionState
	instance uint64
	since    time.Time // of the session
	close    func(handshake.Reason)
	gone     handshake.Reason // why the admission ended

	remote ma.Multiaddr // of the connection, nil when it is not known
	ip     netip.Addr   // of remote, the zero one when it has none
	merit  merit
}

// direct tells whether the connection leads through no relay. One whose address is
// not known counts as direct.
func (t *Admission) direct() bool {
	return !p2phost.Relayed(t.remote)
}

type admissionState uint8

const (
	admissionPending admissionState = iota // handshake under way
	admissionLive                          // session
	admissionGone
)

// Admit asks for a slot. An opener calls it before it sends its hello, with
// DirOutbound and instance 0; an answerer in its verify callback, with
// DirInbound and the instance of the hello it got. The answer is an admission or
// the reason to refuse. A session that gives way to this one has been told to
// end with ReasonReplaced when Admit returns.
//
// remote is the address of the connection, nil when it is not known: only so many
// outbound peers may be of one neighbourhood, and when all slots are taken, a peer
// of another one, or one that was useful before, may take that of a session, which
// is ended with ReasonTooManyPeers.
func (m *Manager) Admit(p peer.ID, dir network.Direction, instance uint64, remote ma.Multiaddr) (*Admission, handshake.Reason) {
	m.mu.Lock()
	t, r, after := m.admitLocked(p, dir, instance, remote)
	m.mu.Unlock()
	run(after...)
	return t, r
}

func (m *Manager) admitLocked(p peer.ID, dir network.Direction, instance uint64, remote ma.Multiaddr) (*Admission, handshake.Reason, []func()) {
	if m.closed {
		return nil, handshake.ReasonShuttingDown, nil
	}
	now := time.Now()
	e := m.entries[p]
	var ip netip.Addr
	if remote != nil {
		ip, _ = book.IP(remote)
	}
	t := &Admission{m: m, p: p, dir: dir, instance: instance, remote: remote, ip: ip}
	c := m.candidateLocked(t)
	_, banned := m.bannedLocked(p, now)
	c.banned = banned || ip.IsValid() && m.bannedIPLocked(ip, now) && m.targets[p] == nil
	r, _ := m.placeLocked(t, c, now, false)
	if r == handshake.ReasonNone && dir == network.DirInbound && !m.reservedLocked(p) && !m.mayHelloLocked(p, now) {
		r = handshake.ReasonRateLimited
	}
	if r != handshake.ReasonNone {
		return nil, r, nil
	}
	if e == nil {
		e = &entry{}
	}
	var v ruling
	if dir == network.DirInbound {
		v = mayAnswer(m.cfg.Self, p, e.state(now), instance, t.direct(), m.cfg.HandshakeTimeout)
	} else {
		v.refuse = mayOpen(e.state(now), t.direct())
	}
	if v.refuse != handshake.ReasonNone {
		return nil, v.refuse, nil
	}
	after := m.replaceLocked(e, v)
	m.changeLocked(p, func(e *entry) {
		if dir == network.DirInbound {
			e.answering = t
		} else {
			e.opening = t
		}
	})
	return t, handshake.ReasonNone, after
}

// Confirm is the opener's second question, asked in its verify callback: does
// the session still have its place, now that the peer has said which instance
// it is. ReasonNone means yes.
func (t *Admission) Confirm(instance uint64) handshake.Reason {
	m := t.m
	m.mu.Lock()
	r, after := t.confirmLocked(instance)
	m.mu.Unlock()
	run(after...)
	return r
}

func (t *Admission) confirmLocked(instance uint64) (handshake.Reason, []func()) {
	m := t.m
	if t.state != admissionPending {
		return t.gone, nil
	}
	t.instance = instance
	e := m.entries[t.p]
	v := mayConfirm(e.state(time.Now()), instance, t.direct(), m.cfg.HandshakeTimeout)
	if v.refuse != handshake.ReasonNone {
		return v.refuse, nil
	}
	return handshake.ReasonNone, m.replaceLocked(e, v)
}

// replaceLocked ends what a ruling says has to give way.
func (m *Manager) replaceLocked(e *entry, v ruling) []func() {
	var after []func()
	if v.replaceAnswering && e.answering != nil {
		after = append(after, m.endLocked(e.answering, alreadyConnected, false))
	}
	if v.replaceLive && e.live != nil {
		after = append(after, m.endLocked(e.live, handshake.ReasonReplaced, false))
	}
	return after
}

// Commit turns the admission into a session and announces it. live is called before
// anybody hears of it, under the manager's lock: it must not block, nor call the
// manager. A slot is taken here by an inbound peer: ReasonTooManyPeers when others
// were faster. The manager calls close, once and outside its lock, when the session has to end (ban,
// replacement, Close); close must not block, nor wait for the session to have
// ended. When Commit returns another reason than ReasonNone, the admission has
// lost its place meanwhile, and the caller closes the session itself.
func (t *Admission) Commit(close func(handshake.Reason), live func()) handshake.Reason {
	m := t.m
	m.mu.Lock()
	r, after := t.commitLocked(close, live)
	m.mu.Unlock()
	run(after...)
	return r
}

func (t *Admission) commitLocked(close func(handshake.Reason), live func()) (handshake.Reason, []func()) {
	m := t.m
	switch t.state {
	case admissionGone:
		return t.gone, nil
	case admissionLive:
		return handshake.ReasonNone, nil
	}
	e := m.entries[t.p]
	now := time.Now()
	if e.live != nil && !e.state(now).supersedes(t.direct()) {
		// The other handshake with this peer was faster.
		return alreadyConnected, []func(){m.endLocked(t, alreadyConnected, false)}
	}
	// Others may have taken the slot while the handshake was under way.
	r, after := m.placeLocked(t, m.candidateLocked(t), now, true)
	if r != handshake.ReasonNone {
		return r, append(after, m.endLocked(t, r, false))
	}
	if old := e.live; old != nil {
		t.merit.inherit(&old.merit, now)
		after = append(after, m.endLocked(old, handshake.ReasonReplaced, false))
	}
	m.changeLocked(t.p, func(e *entry) {
		if t.dir == network.DirInbound {
			e.answering = nil
		} else {
			e.opening = nil
		}
		t.state, t.since, t.close = admissionLive, time.Now(), close
		e.live = t
	})
	m.avoided.delete(t.p)
	if target := m.targets[t.p]; target != nil {
		target.due, target.said = time.Time{}, 0
	}
	m.arrivedLocked(t)
	live()
	m.publishLocked(Event{Kind: Connected, Peer: t.p, Direction: t.dir})
	return handshake.ReasonNone, after
}

// Abort ends an admission whose handshake failed; the error tells why.
func (t *Admission) Abort(err error) {
	if refused, ok := errors.AsType[*handshake.RefusedError](err); ok {
		t.Say(refused.Text)
	}
	t.Release(handshake.ReasonOf(err), handshake.ByRemote(err))
}

// Say notes what the application of the side that ends the admission says with it, for
// the event.
func (t *Admission) Say(text string) {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.text = text
}

// Release ends an admission: the handshake was given up, or the session has ended,
// for a reason that is the peer's or the own one. Only the first ending of a
// admission counts; one by the manager itself is among them.
func (t *Admission) Release(r handshake.Reason, byRemote bool) {
	m := t.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.state == admissionGone {
		return
	}
	t.close = nil // the caller ends the session, if there is one
	m.endLocked(t, r, byRemote)
}

// endLocked takes an admission out of the books. What it returns, if anything, has
// to be called without the lock: it closes the session.
func (m *Manager) endLocked(t *Admission, r handshake.Reason, byRemote bool) func() {
	was := t.state
	if was == admissionGone {
		return nil
	}
	close := t.close
	t.state, t.gone, t.close = admissionGone, r, nil
	if t.gone == handshake.ReasonNone {
		t.gone = handshake.ReasonRequested
	}
	m.changeLocked(t.p, func(e *entry) {
		for _, slot := range []**Admission{&e.opening, &e.answering, &e.live} {
			if *slot == t {
				*slot = nil
			}
		}
	})
	var lived time.Duration
	if was == admissionLive {
		m.noteLocked(t.p, word{reason: r, byRemote: byRemote, session: true})
		lived = max(time.Since(t.since), 1)
		m.departedLocked(t)
		m.cfg.Obs.Counter(obs.Disconnected + r.Label()).Inc(1)
		m.publishLocked(Event{Kind: Disconnected, Peer: t.p, Direction: t.dir, Reason: r, ByRemote: byRemote, Text: t.text})
	} else {
		m.refusedLocked(t.p, t.dir, r, byRemote, t.text)
	}
	m.endedLocked(t, r, byRemote, lived)
	if close == nil {
		return nil
	}
	return func() { close(r) }
}

// NoteRefused counts and announces a handshake that failed before it had a
// admission, such as one whose hello was of another chain, and remembers the peer
// when trying it would be useless.
func (m *Manager) NoteRefused(p peer.ID, dir network.Direction, err error) {
	text := ""
	if refused, ok := errors.AsType[*handshake.RefusedError](err); ok {
		text = refused.Text
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusedLocked(p, dir, handshake.ReasonOf(err), handshake.ByRemote(err), text)
}

func (m *Manager) refusedLocked(p peer.ID, dir network.Direction, r handshake.Reason, byRemote bool, text string) {
	if r == handshake.ReasonNone {
		return
	}
	prefix := obs.Refused
	if byRemote {
		prefix = obs.RefusedBy
	}
	m.noteLocked(p, word{reason: r, byRemote: byRemote})
	m.cfg.Obs.Counter(prefix + r.Label()).Inc(1)
	m.cfg.Obs.Log("peers").WithField("peer", p).WithField("reason", r.Label()).WithField("by_remote", byRemote).Debug("handshake failed")
	if r.Permanent() {
		m.shunLocked(p, r)
	}
	m.publishLocked(Event{Kind: Refused, Peer: p, Direction: dir, Reason: r, ByRemote: byRemote, Text: text})
}

// publishLocked announces under the lock, so that the events of a peer are in
// the order of what happened; it never blocks.
func (m *Manager) publishLocked(e Event) {
	e.At = time.Now()
	m.feed.publish(e)
}
