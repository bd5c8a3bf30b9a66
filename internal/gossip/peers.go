package gossip

import (
	"errors"
	"maps"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// PeerJoined tells that Member now says yes to p. Until then nothing is said to
// p, and nothing heard.
func (e *Engine) PeerJoined(p peer.ID) {
	e.members.wake(p)
	// What a foreigner said about topics that were closed to it is forgotten:
	// it says all of it again on new streams.
	e.resetStreams(p, func(s *stream) bool { return s.standing() == foreign })
	e.spawn(func() { e.nudge(p) })
}

// nudge makes the routers look at a peer again. They give up on one whose
// streams ended five times in ten minutes, until it connects anew; but a session
// may end and begin on one connection.
func (e *Engine) nudge(p peer.ID) {
	for _, l := range e.lanes() {
		if len(l.streams.of(p, func(s *stream) bool { return s.out })) > 0 {
			continue
		}
		em, err := e.cfg.Host.EventBus().Emitter(new(event.EvtPeerProtocolsUpdated))
		if err != nil {
			return // the host is closing
		}
		_ = em.Emit(event.EvtPeerProtocolsUpdated{Peer: p, Added: l.protocols})
		_ = em.Close()
	}
}

// PeerLeft tells that Member now says no to p.
func (e *Engine) PeerLeft(p peer.ID) {
	e.members.wake(p)
	e.resetStreams(p, func(s *stream) bool { return s.standing() == member })
}

// resetForeignLocked ends the streams of all foreigners.
func (e *Engine) resetForeignLocked() {
	for _, l := range e.lanesLocked() {
		for _, s := range l.streams.all(func(s *stream) bool { return s.standing() == foreign }) {
			_ = s.Stream.Reset()
		}
	}
}

func (e *Engine) resetStreams(p peer.ID, which func(*stream) bool) {
	for _, l := range e.lanes() {
		for _, s := range l.streams.of(p, which) {
			_ = s.Stream.Reset()
		}
	}
}

// AddDirect makes a peer a direct one, see Config.Direct.
func (e *Engine) AddDirect(p peer.AddrInfo) error {
	return e.withDirect(func(l *lane) error { return l.ps.AddDirectPeer(p) }, func() { e.direct[p.ID] = p })
}

// RemoveDirect undoes AddDirect, and Config.Direct.
func (e *Engine) RemoveDirect(p peer.ID) error {
	if !e.isDirect(p) {
		return nil
	}
	return e.withDirect(func(l *lane) error { return l.ps.RemoveDirectPeer(p) }, func() { delete(e.direct, p) })
}

func (e *Engine) isDirect(p peer.ID) bool {
	e.ctl.Lock()
	defer e.ctl.Unlock()
	_, ok := e.direct[p]
	return ok
}

// withDirect changes the set of direct peers, for lanes to come too.
func (e *Engine) withDirect(tell func(*lane) error, note func()) error {
	if !e.calls.enter() {
		return ErrClosed
	}
	defer e.calls.leave()
	e.ctl.Lock()
	defer e.ctl.Unlock()
	note()
	var errs []error
	for _, l := range e.lanesLocked() {
		errs = append(errs, tell(l))
	}
	return errors.Join(errs...)
}

// fault notes that a peer sent what no honest peer sends.
func (e *Engine) fault(p peer.ID, what string) {
	e.cfg.Obs.Counter(obs.GossipFaults + what).Inc(1)
	e.faults.add(p, now())
}

// cutOff ends the streams of a peer that reads too slowly. Both sides open
// others, with empty queues.
func (e *Engine) cutOff(l *lane, p peer.ID) {
	e.cfg.Obs.Counter(obs.GossipSlow).Inc(1)
	e.spawn(func() {
		for _, s := range l.streams.of(p, func(*stream) bool { return true }) {
			_ = s.Stream.Reset()
		}
	})
}

// appScore asks the program, which says 0 if it panics.
func (e *Engine) appScore(app func(peer.ID) float64, p peer.ID) (score float64) {
	if app == nil {
		return 0
	}
	defer func() {
		if r := recover(); r != nil {
			score = 0
			e.panicked("AppScore", r, e.cfg.Obs.Counter(obs.GossipPanics))
		}
	}()
	return app(p)
}

// scored passes the peers' scores on. It runs in a goroutine of the router's,
// now and then after Close.
func (e *Engine) scored(scores map[peer.ID]float64) {
	if e.cfg.OnScore == nil || !e.calls.enter() {
		return
	}
	defer e.calls.leave()
	defer func() {
		if r := recover(); r != nil {
			e.panicked("OnScore", r, e.cfg.Obs.Counter(obs.GossipPanics))
		}
	}()
	e.cfg.OnScore(e.inAll(scores))
}

// inAll gives a peer with two lanes the lower of its scores: the routers act by
// one each, and both hold what does not depend on topics.
func (e *Engine) inAll(scores map[peer.ID]float64) map[peer.ID]float64 {
	lanes := e.lanes()
	if len(lanes) < 2 {
		return scores
	}
	all := maps.Clone(scores)
	_, second := lanes[1].tracker.snapshot()
	for p, s := range second {
		if first, both := all[p]; !both || s < first {
			all[p] = s
		}
	}
	return all
}
