package session

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"golang.org/x/time/rate"
)

const (
	// A peer may send that many control frames per second and at once; more is
	// a violation.
	controlRate  = 20
	controlBurst = 100
	// controlQueue bounds the control frames that wait for the transport, in
	// bytes. Beyond it they are dropped: pongs, as the rest is few.
	controlQueue = 1 << 10
	// ctlRead is what the control stream is read into until a frame comes that
	// is larger: those that are known are not.
	ctlRead = 4 * (ctlHead + 8)
)

// controlWriter writes control frames. Its goroutine exists only while there
// are some. A control frame may be held up by a stuck connection; the session
// then ends by its ping timeout.
type controlWriter struct {
	mu      sync.Mutex // guards the fields below
	buf     []byte
	writing bool
}

func (c *controlWriter) send(s *Session, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.buf)+len(frame) > controlQueue {
		return
	}
	c.buf = append(c.buf, frame...)
	if !c.writing {
		c.writing = s.spawn(func() { c.write(s) })
	}
}

func (c *controlWriter) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.writing
}

func (c *controlWriter) write(s *Session) {
	defer s.room.signal()
	for {
		c.mu.Lock()
		b := c.buf
		c.buf = nil
		c.writing = len(b) > 0
		c.mu.Unlock()
		if len(b) == 0 {
			return
		}
		if _, err := s.control.Write(b); err != nil {
			c.mu.Lock()
			c.writing = false
			c.mu.Unlock()
			s.end(handshake.ReasonTransportLost, false)
			return
		}
	}
}

// readControl reads the control stream until it ends, and with it the session.
func (s *Session) readControl() {
	defer func() { close(s.hungUp) }() // made by end, which comes before
	buf := make([]byte, ctlRead)
	limit := rate.NewLimiter(controlRate, controlBurst)
	have := 0
	for {
		n, err := s.control.Read(buf[have:])
		if n > 0 {
			s.touch()
		}
		have += n
		rest := buf[:have]
		for {
			typ, body, n, fault := parseControl(rest)
			if fault == FaultNone && n > 0 && !limit.Allow() {
				fault = FaultControl
			}
			if fault == FaultNone && n > 0 && typ == ctlGoodbye && parseGoodbye(body).reason == handshake.ReasonNone {
				fault = FaultControl
			}
			if fault != FaultNone {
				s.e.penalise(s.peer, fault)
				s.end(handshake.ReasonProtocol, false)
				return
			}
			if n == 0 {
				break
			}
			s.control1(typ, body)
			rest = rest[n:]
		}
		have = copy(buf, rest)
		if have == len(buf) {
			buf = append(buf, make([]byte, ctlHead+ctlMaxBody-have)...)
		}
		if err != nil {
			s.end(handshake.ReasonTransportLost, false)
			return
		}
	}
}

// control1 handles one control frame.
func (s *Session) control1(typ byte, body []byte) {
	switch typ {
	case ctlPing:
		s.ctl.send(s, appendPing(nil, ctlPong, binary.BigEndian.Uint64(body)))
	case ctlPong:
		s.mu.Lock()
		answer := !s.pingAt.IsZero() && binary.BigEndian.Uint64(body) == s.nonce
		took := time.Since(s.pingAt)
		if answer {
			s.pingAt = time.Time{}
		}
		s.mu.Unlock()
		if answer {
			s.noteRTT(took)
		}
	case ctlGoodbye:
		g := parseGoodbye(body)
		s.mu.Lock()
		s.goodbye, s.announced = true, g.streams
		s.mu.Unlock()
		s.end(g.reason, true)
	}
}

func (s *Session) saidGoodbye() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.goodbye
}

// ping sends a ping. It does not block.
func (s *Session) ping() {
	s.mu.Lock()
	s.nonce++
	s.pingAt = time.Now()
	nonce := s.nonce
	s.mu.Unlock()
	s.ctl.send(s, appendPing(nil, ctlPing, nonce))
}

// tick is the session's timer: it pings, notices that the peer is dead, ends
// waits that take too long, and closes idle streams. It never blocks.
func (s *Session) tick() {
	now := s.since()
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return
	}
	act, wait := s.live.step(now, time.Duration(s.lastLife.Load()))
	if act != liveDead {
		s.timer.Reset(min(wait, s.e.cfg.tickMost()))
	}
	s.mu.Unlock()
	switch act {
	case livePing:
		s.ping()
	case liveDead:
		s.end(handshake.ReasonPingTimeout, false)
		return
	}
	for _, st := range s.overdue(now) {
		st.SetReadDeadline(past)
	}
	for o := range s.outbounds() {
		o.hurry(now)
		o.finishIdle(now, s.e.cfg.StreamIdle)
	}
}
