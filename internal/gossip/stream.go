package gossip

import (
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// stream is one gossip stream; each is used in one direction only.
type stream struct {
	network.Stream
	l   *lane
	p   peer.ID
	out bool
	st  atomic.Uint32 // a standing

	opened time.Time
	dead   atomic.Bool // outbound, and the router has given it up

	lastHeard time.Time // the reader's

	// The writer's.
	deadline time.Time
}

func newStream(s network.Stream, l *lane, out bool, st standing) *stream {
	if pace := l.e.cfg.Pace; pace != nil && out {
		s = pace(s)
	}
	g := &stream{Stream: s, l: l, p: s.Conn().RemotePeer(), out: out, opened: now()}
	g.st.Store(uint32(st))
	return g
}

func (s *stream) standing() standing { return standing(s.st.Load()) }

// Read counts bytes. Of an outbound stream only the end is ever read.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if n > 0 {
		s.l.wireIn.Inc(int64(n))
		s.heard()
	}
	return n, err
}

// heardStep is how often Config.Heard is called for a stream.
const heardStep = time.Second

func (s *stream) heard() {
	if f := s.l.e.cfg.Heard; f != nil {
		if at := now(); at.Sub(s.lastHeard) >= heardStep {
			s.lastHeard = at
			f(s.p)
		}
	}
}

// Write counts bytes, and takes them off what waits for the peer.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	if n > 0 {
		s.l.wireOut.Inc(int64(n))
	}
	if err == nil { // else it is lost with the stream
		s.l.backlog.take(s.p, len(b))
	}
	return n, err
}

// deadlineStep is how much a write deadline may be early. go-libp2p-pubsub sets
// one 30 s ahead before each frame, and a timer per frame is a cost.
const deadlineStep = 5 * time.Second

// SetWriteDeadline is SetWriteDeadline, at most deadlineStep early.
func (s *stream) SetWriteDeadline(t time.Time) error {
	if !s.deadline.IsZero() && t.Sub(s.deadline) < deadlineStep {
		return nil
	}
	s.deadline = t
	return s.Stream.SetWriteDeadline(t)
}

// Reset forgets an outbound stream. The router calls it when the stream has
// ended.
func (s *stream) Reset() error {
	if s.out && !s.dead.Swap(true) {
		s.l.streams.remove(s)
		s.l.streams.ended(s.p)
		s.l.renew(s.p, false)
	}
	return s.Stream.Reset()
}

// renewAge is how old a stream must be to be renewed: with it, two sides that
// renew for each other's sake do not go on for ever.
const renewAge = 5 * time.Second

// renew ends the streams of a peer in one direction, so that they are opened
// anew. When a stream to a peer ends, the router forgets what the peer is
// subscribed to, and the peer says it only at the beginning of its stream; and
// the other way round. So both have to begin again.
func (l *lane) renew(p peer.ID, out bool) {
	old := l.streams.of(p, func(s *stream) bool { return s.out == out && now().Sub(s.opened) >= renewAge })
	for _, s := range old {
		_ = s.Stream.Reset()
	}
}
