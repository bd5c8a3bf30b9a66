package peers

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math/bits"
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/peers/book"
	"github.com/go-nebnet/nebnet/internal/tokenbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// sweepEvery is how often what is over is forgotten.
const sweepEvery = time.Minute

// How fast peers that are not to be kept are dialled: in general, and while
// there is no session, when every attempt may fail at once.
var (
	dialRate   = tokenbucket.Rate{PerSecond: 8, Burst: 32}
	lonelyRate = tokenbucket.Rate{PerSecond: 2, Burst: 16}
)

// fullAddrsWait is how long a peer waits none of whose addresses may be dialled
// now.
const fullAddrsWait = 5 * time.Minute

// slowDial is how long a dial of a peer that is not to be kept holds the place it is
// for. Then another peer is dialled beside it: one that is gone takes all of DialTimeout.
const slowDial = time.Second

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
		case <-m.wake: // a peer was named or planned, or a dial or session has ended
		case <-timer.C: // a peer is due
		case now := <-sweep.C:
			m.mu.Lock()
			m.sweepLocked(now)
			m.mu.Unlock()
			m.attempts.sweep(now)
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
	now := time.Now()
	wait := m.startKeptLocked(now)
	return sooner(wait, m.startOthersLocked(now))
}

func (m *Manager) startKeptLocked(now time.Time) time.Duration {
	if m.freeLocked() > 0 {
		for _, t := range m.targets { // before anybody else takes the slot
			if t.waiting && !t.due.IsZero() {
				t.due = now
			}
			t.waiting = false
		}
	}
	for {
		chosen, wait := pick(m.targets, now, m.cfg.MaxDials-m.dialling)
		putOff := false
		for _, t := range chosen {
			if !m.mayDialLocked(t, now) {
				putOff = true
				continue
			}
			t.dialling, t.due = true, time.Time{}
			m.startLocked(t.id, t, m.keptAddrsLocked(t.id))
		}
		if !putOff {
			return wait
		}
		// Those put off, which are not due any more, stood before others.
	}
}

// mayDialLocked tells whether a due target is dialled. If not, it has been put
// off, or needs no dial.
func (m *Manager) mayDialLocked(t *target, now time.Time) bool {
	if until, banned := m.bannedLocked(t.id, now); banned {
		t.due = until
		return false
	}
	if m.entries[t.id] != nil || m.tryingLocked(t.id) {
		t.due = time.Time{} // the end of what there is plans the next dial
		if m.tryingLocked(t.id) {
			t.due = now.Add(fullWait)
		}
		return false
	}
	if m.reservedLocked(t.id) || m.freeLocked() > 0 {
		return true
	}
	t.waiting = true
	t.due = now.Add(fullWait + time.Duration(m.cfg.Rand()*float64(fullWait)))
	return false
}

// startOthersLocked dials peers of the book for the places that are free.
func (m *Manager) startOthersLocked(now time.Time) time.Duration {
	dials := m.cfg.MaxDials - m.dialling
	if dials <= 0 || m.book.Len() == 0 {
		return 0 // the end of a dial comes first
	}
	free := min(dials, m.toDialLocked(now))
	if free <= 0 {
		return m.slowLocked(now) // if not the end of a dial or session
	}
	r := dialRate
	if m.lonelyLocked() {
		r = lonelyRate
	}
	if budget := int(r.Burst - m.pace.Used(r, now)); budget < free {
		if free = budget; free < 1 {
			return time.Duration(float64(time.Second) / r.PerSecond)
		}
	}
	chosen, wait := choose(m.book.All(), choice{
		now: now, n: free, skip: func(e *book.Entry) bool { return m.skipLocked(e, now) },
		spread: m.spreadLocked(""), rand: m.cfg.Rand,
	})
	for _, e := range chosen {
		addrs := m.otherAddrsLocked(e, now)
		if len(addrs) == 0 {
			m.book.PutOff(e.ID, now.Add(fullAddrsWait+time.Duration(m.cfg.Rand()*float64(fullAddrsWait))))
			wait = sooner(wait, time.Millisecond) // somebody else may have its place
			continue
		}
		m.pace.Take(r, now, 1)
		m.trying[e.ID] = now
		m.startLocked(e.ID, nil, addrs)
	}
	return sooner(wait, m.slowLocked(now))
}

// placesLocked are the peers for which a dial holds a place.
func (m *Manager) placesLocked(now time.Time) iter.Seq[peer.ID] {
	return func(yield func(peer.ID) bool) {
		for p, since := range m.trying {
			if m.entries[p] == nil && now.Sub(since) < slowDial && !yield(p) {
				return
			}
		}
	}
}

// slowLocked is when the next dial gives up its place, 0 for never.
func (m *Manager) slowLocked(now time.Time) (wait time.Duration) {
	for _, since := range m.trying {
		if left := slowDial - now.Sub(since); left > 0 {
			wait = sooner(wait, left)
		}
	}
	return wait
}

func (m *Manager) tryingLocked(p peer.ID) bool {
	_, trying := m.trying[p]
	return trying
}

// skipLocked tells of a peer in the book that it is not one to dial now.
func (m *Manager) skipLocked(e *book.Entry, now time.Time) bool {
	if m.entries[e.ID] != nil || m.tryingLocked(e.ID) || m.targets[e.ID] != nil || e.ID == m.cfg.Self {
		return true
	}
	_, banned := m.bannedLocked(e.ID, now)
	return banned
}

func (m *Manager) startLocked(p peer.ID, t *target, addrs []ma.Multiaddr) {
	m.dialling++
	m.book.Trying(time.Now(), p)
	ai := peer.AddrInfo{ID: p, Addrs: addrs}
	m.wg.Go(func() { m.dial(t, ai) })
}

// keptAddrsLocked are the addresses of a peer that the operator named: those it
// named, and what is known beside.
func (m *Manager) keptAddrsLocked(p peer.ID) []ma.Multiaddr {
	if e := m.book.Get(p); e != nil {
		return e.Multiaddrs()
	}
	return nil
}

// otherAddrsLocked are the addresses of a peer that may be dialled now.
func (m *Manager) otherAddrsLocked(e *book.Entry, now time.Time) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range e.Addrs {
		addr := a.Multiaddr()
		if addr == nil || !m.cfg.Allow(addr) {
			continue
		}
		if ip, ok := book.IP(addr); ok {
			if m.bannedIPLocked(ip, now) || a.Good == 0 && !m.aims.take(ip, now) {
				continue
			}
		}
		out = append(out, addr)
	}
	return out
}

// spreadLocked counts the neighbourhoods of the peers that this node chose
// itself, those being dialled included, apart from one.
func (m *Manager) spreadLocked(except peer.ID) spread {
	s := newSpread(m.limits.most(), m.systems)
	for p, e := range m.entries {
		if !e.inbound() && p != except {
			s.add(e.group())
		}
	}
	for p := range m.placesLocked(time.Now()) {
		if e := m.book.Get(p); e != nil && p != except {
			s.add(e.Group())
		}
	}
	return s
}

// Wanted is the number of peers that this node still looks for. Dials under way do not
// count: what they lead to is not known, and those of peers that are gone may follow one
// another for minutes.
func (m *Manager) Wanted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(0, min(m.missingLocked(), m.slotsLocked().free()))
}

// missingLocked is how many more peers are looked for: up to the number of outbound ones,
// or of all, whichever wants more.
func (m *Manager) missingLocked() int {
	l := m.limits
	return max(l.outbound()-m.outbound, l.enough()-m.outbound-m.inbound)
}

// toDialLocked is how many more of them are dialled now: a dial holds the place it is for,
// at first.
func (m *Manager) toDialLocked(now time.Time) int {
	want := m.missingLocked()
	for range m.placesLocked(now) {
		want--
	}
	return min(want, m.freeLocked())
}

// freeLocked is the number of free slots; a dial that holds a place and has no admission
// yet counts as a peer, and one of a peer to keep however long it takes.
func (m *Manager) freeLocked() int {
	free := m.slotsLocked().free()
	for range m.placesLocked(time.Now()) {
		free--
	}
	for _, t := range m.targets {
		if t.dialling && m.entries[t.id] == nil {
			free--
		}
	}
	return free
}

// dial makes one attempt; t is nil for a peer that is not to be kept.
func (m *Manager) dial(t *target, ai peer.AddrInfo) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.DialTimeout)
	err := m.cfg.Connect(ctx, ai)
	cancel()
	r := dialReason(err)
	m.cfg.Obs.Counter(obs.Dials + r.Label()).Inc(1)
	m.mu.Lock()
	m.dialling--
	stranger := wrongKey(err)
	e := ending{
		reason: r, byRemote: handshake.ByRemote(err), stranger: stranger, lonely: m.lonelyLocked(), ownLimit: ownLimit(err),
		took: time.Since(begun),
	}
	say := false
	if t == nil {
		delete(m.trying, ai.ID)
		if err != nil && m.entries[ai.ID] == nil && !m.closed {
			m.planOtherLocked(ai.ID, e)
		}
	} else {
		t.dialling = false
		// The target may have been removed, and even added anew, meanwhile; the
		// session it was for may stand, or be under way from the other side.
		if m.targets[t.id] == t && m.entries[t.id] == nil && !m.closed {
			if err == nil {
				e.reason = handshake.ReasonTransportLost // the session has ended already
			}
			m.planLocked(t, e)
		}
		// The first, second, fourth and so on: a mistake in a configuration is
		// said soon, and not every half minute for a year.
		if mismatch(err) != nil {
			t.said++
			say = bits.OnesCount(uint(t.said)) == 1
		}
	}
	m.triedLocked(ai.ID, err)
	m.mu.Unlock()
	m.kick()
	if err != nil {
		m.logFailed(ai, say, err)
	}
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

// ownLimit tells whether it was this node's host that refused an attempt, as it has
// no more connections, streams, memory or open files to give.
func ownLimit(err error) bool { return errors.Is(err, network.ErrResourceLimitExceeded) }

// sortTargets puts the longest due first.
func sortTargets(ts []*target) {
	slices.SortFunc(ts, func(a, b *target) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.id, b.id))
	})
}
