package session

import (
	"sync"
	"time"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

const (
	// controlQueue bounds the short control frames that wait for the transport,
	// in bytes. Beyond it they are dropped: pongs, as the rest is few.
	controlQueue = 1 << 10
	// controlWrite is how much is written at once: what is short comes between
	// two parts of many offers.
	controlWrite = 16 << 10
	// offersEvery is the least time between two frames of offers, once the peer
	// knows the first ones, and announceEvery that between two announcements of
	// one kind.
	offersEvery   = 200 * time.Millisecond
	announceEvery = 5 * time.Second
)

// controlWriter writes control frames. Its goroutine exists only while there
// are some. A control frame may be held up by a stuck connection; the session
// then ends by its ping timeout.
//
// Short frames are queued. Of offers and announcements only what the peer has
// been told is kept, and the writer looks for what is new: whatever changes
// meanwhile, at most the latest state has to be told.
type controlWriter struct {
	mu      sync.Mutex // guards the fields below
	buf     []byte
	writing bool
	stopped bool // nothing but what is queued is written any more

	ready  bool   // the first offers have been written
	told   uint64 // version of the offers that the peer knows
	latest [announcements]*[]byte
	// When the next ones may go out, since the session began.
	nextOffers time.Duration
	nextLatest [announcements]time.Duration
	timer      *time.Timer // kicks then
}

// send queues a short frame.
func (c *controlWriter) send(s *Session, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.buf)+len(frame) > controlQueue {
		return
	}
	c.buf = append(c.buf, frame...)
	c.startLocked(s)
}

// last queues the goodbye, after which nothing is told any more. Pongs that still
// wait give way to it: a peer that floods must not keep it from being said.
func (c *controlWriter) last(s *Session, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = frame
	c.startLocked(s)
}

// kick has the peer told of what has changed.
func (c *controlWriter) kick(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked(s)
}

func (c *controlWriter) startLocked(s *Session) {
	if !c.writing {
		c.writing = s.spawn(func() { c.write(s) })
	}
}

// stop lets nothing new be told: the session says goodbye.
func (c *controlWriter) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (c *controlWriter) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.writing
}

func (c *controlWriter) write(s *Session) {
	defer s.progress.signal()
	for {
		b := c.next(s)
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

// next takes what is to be written now. When that is nothing the writer ends,
// and begins again when what is held back may go out.
func (c *controlWriter) next(s *Session) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.buf
	c.buf = nil
	if !c.stopped {
		now := s.since()
		var wait time.Duration // 0 when nothing is held back
		b, wait = c.offersLocked(b, s.e.reg.offers.Load(), now)
		for a := range announcements {
			b, wait = c.announceLocked(b, s.e, a, now, wait)
		}
		if len(b) == 0 && wait > 0 {
			c.wakeLocked(s, wait)
		}
	}
	c.writing = len(b) > 0
	return b
}

// offersLocked appends a part of what the peer does not know of the offers.
func (c *controlWriter) offersLocked(b []byte, log *offerLog, now time.Duration) (_ []byte, wait time.Duration) {
	latest := log.version()
	if c.ready {
		if c.told == latest {
			return b, 0
		}
		if now < c.nextOffers {
			return b, c.nextOffers - now
		}
		c.nextOffers = now + offersEvery
		b, c.told = log.frame(b, c.told)
		return b, 0
	}
	for c.told < latest && len(b) < controlWrite {
		b, c.told = log.frame(b, c.told)
	}
	if c.told == latest {
		b, c.ready = appendControl(b, ctlReady, nil), true
	}
	return b, 0
}

func (c *controlWriter) announceLocked(b []byte, e *Engine, a announcement, now, wait time.Duration) ([]byte, time.Duration) {
	latest := e.announced[a].Load()
	if latest == c.latest[a] || !c.ready {
		return b, wait
	}
	if left := c.nextLatest[a] - now; left > 0 {
		if wait == 0 || left < wait {
			wait = left
		}
		return b, wait
	}
	if len(b) >= controlWrite {
		return b, wait // with the next write
	}
	c.latest[a], c.nextLatest[a] = latest, now+announceEvery
	return appendControl(b, announceFrame[a], *latest), wait
}

// wakeLocked has the writer begin again later.
func (c *controlWriter) wakeLocked(s *Session, after time.Duration) {
	if c.timer == nil {
		c.timer = time.AfterFunc(after, func() { c.kick(s) })
		return
	}
	c.timer.Reset(after)
}
