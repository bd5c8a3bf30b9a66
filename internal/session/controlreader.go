package session

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/network"
)

// ctlRead is what the control stream is read into while only short frames come.
const ctlRead = 40

// readControl reads the control stream until it ends, and with it the session.
func (s *Session) readControl() {
	defer func() { close(s.hungUp) }() // made by end, which comes before
	s.e.cfg.Obs.Labels("session", "peer", s.peer.String()).Apply()
	var small [ctlRead]byte
	buf, have := small[:], 0
	var limit flood
	for {
		n, err := s.control.Read(buf[have:])
		now := time.Now()
		if n > 0 {
			s.Heard()
		}
		rest, need, fault := s.controlFrames(buf[:have+n], now, &limit)
		if fault != FaultNone {
			s.e.penalise(s.peer, fault)
			s.end(handshake.ReasonProtocol, false)
			s.discardControl()
			return
		}
		if err != nil {
			s.end(handshake.ReasonTransportLost, false)
			return
		}
		// A long frame has a buffer of its own, for as long as it takes.
		next := small[:]
		if need > len(small) {
			next = buf
			if need > len(buf) {
				next = make([]byte, need)
			}
		}
		have = copy(next, rest)
		buf = next
	}
}

// discardControl reads on after a violation until the peer hangs up or the stream
// is cut. Who stops reading takes the reason from the peer: a connection that is
// closed with unread data loses what was written to it last.
func (s *Session) discardControl() {
	for buf := make([]byte, 1<<10); ; {
		if _, err := s.control.Read(buf); err != nil {
			return
		}
	}
}

// controlFrames handles the frames that data begins with. It gives what follows
// them, and how long the frame is that this is the beginning of.
func (s *Session) controlFrames(data []byte, now time.Time, limit *flood) (rest []byte, need int, fault Fault) {
	for {
		typ, body, n, need, fault := parseControl(data)
		if fault != FaultNone || n == 0 {
			return data, need, fault
		}
		if !limit.frame(now, n) {
			return nil, 0, FaultControl
		}
		if fault := s.controlFrame(typ, body, now, limit); fault != FaultNone {
			return nil, 0, fault
		}
		data = data[n:]
	}
}

// controlFrame handles one control frame.
func (s *Session) controlFrame(typ byte, body []byte, now time.Time, limit *flood) Fault {
	switch typ {
	case ctlPing:
		s.ctl.send(s, appendPing(nil, ctlPong, binary.BigEndian.Uint64(body)))
	case ctlPong:
		s.ponged(binary.BigEndian.Uint64(body))
	case ctlGoodbye:
		g := parseGoodbye(body)
		if g.reason == handshake.ReasonNone {
			return FaultControl
		}
		s.mu.Lock()
		s.goodbye, s.announced = true, g.streams
		if !s.closing.Load() {
			s.text = g.text
		}
		s.mu.Unlock()
		s.end(g.reason, true)
	case ctlOffers:
		return s.takeOffers(body, now, limit)
	case ctlReady:
		return s.peerReady()
	case ctlRecord, ctlPayload:
		if !limit.announcement(now) {
			return FaultControl
		}
		return s.takeAnnouncement(typ, body)
	}
	return FaultNone
}

// takeAnnouncement hands over what the peer tells of itself.
func (s *Session) takeAnnouncement(typ byte, body []byte) Fault {
	body = slices.Clone(body)
	if f := s.e.cfg.OnRecord; typ == ctlRecord && f != nil && f(s.peer, body) != nil {
		return FaultControl
	}
	if f := s.e.cfg.OnPayload; typ == ctlPayload && f != nil {
		f(s.peer, body)
	}
	return FaultNone
}

// takeOffers notes what the peer offers now.
func (s *Session) takeOffers(body []byte, now time.Time, limit *flood) Fault {
	for len(body) > 0 {
		e, n, fault := parseEntry(body)
		if fault == FaultNone && !limit.entry(now) {
			fault = FaultOffers
		}
		if fault == FaultNone {
			fault = s.takeOffer(e, n)
		}
		if fault != FaultNone {
			return fault
		}
		body = body[n:]
	}
	return FaultNone
}

func (s *Session) ponged(nonce uint64) {
	if took, ok := s.budget.Marked(nonce); ok {
		s.noteRTT(took)
	}
}

func (s *Session) saidGoodbye() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.goodbye
}

// ping sends a ping. It does not block.
func (s *Session) ping(nonce uint64) { s.ctl.send(s, appendPing(nil, ctlPing, nonce)) }

// tick is the session's timer: it pings, notices that the peer is dead, ends
// waits that take too long, and closes idle streams. It never blocks.
func (s *Session) tick() {
	now := s.since()
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return
	}
	act, wait := s.live.step(now, s.lastLife())
	if s.budget.Overdue(s.e.cfg.WriteTimeout) {
		act = liveDead
	}
	if act != liveDead {
		s.timer.Reset(min(wait, s.e.cfg.tickMost()))
	}
	s.mu.Unlock()
	switch act {
	case livePing:
		s.ping(s.budget.Mark())
	case liveDead:
		s.end(handshake.ReasonPingTimeout, false)
		return
	}
	if streams := s.overdue(now); len(streams) > 0 {
		s.spawn(func() { // a reset may block on a connection that is stuck
			for _, st := range streams {
				st.ResetWithError(network.StreamGarbageCollected)
			}
		})
	}
	for q := range s.queues() {
		q.hurry(now)
		q.finishIdle(now, s.e.cfg.StreamIdle)
	}
}
