package p2p

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// SpareTime is how long a spare stream waits for a connection that takes it.
const SpareTime = 10 * time.Second

// spareDelay is how far the making of spare streams keeps behind the connection
// that gave rise to it, which has more need of the processor and of the network.
const spareDelay = time.Millisecond

// spares are streams of a tunnel that stand ready for connections to come: their
// protocol is agreed on, and the peer has connected them to its service. They are
// made when a connection came, and closed when none comes for SpareTime. A nil
// *spares has none.
type spares struct {
	p    *P2P
	d    dialSpec
	want int

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup // fill, running or about to; close waits for it

	mu      sync.Mutex // guards the fields below
	ready   []*spare   // the oldest first
	filling *time.Timer
	left    int // how many fill may still make for the connections that came
	closed  bool
}

type spare struct {
	network.Stream
	expire *time.Timer
}

// newSpares returns those that the settings of the tunnel ask for.
func (p *P2P) newSpares(d dialSpec) *spares {
	if d.set.spares == 0 {
		return nil
	}
	d.sure, d.set.limited = true, false
	sp := &spares{p: p, d: d, want: d.set.spares}
	sp.ctx, sp.cancel = context.WithCancel(p.ctx)
	return sp
}

// take returns a spare stream that is still there, or nil.
func (sp *spares) take() network.Stream {
	if sp == nil {
		return nil
	}
	for s := sp.last(); s != nil; s = sp.last() {
		if got := alive(s); got != nil {
			return got
		}
		_ = s.Reset()
	}
	return nil
}

// last takes the stream whose service has waited least, or nil.
func (sp *spares) last() network.Stream {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	n := len(sp.ready) - 1
	if n < 0 {
		return nil
	}
	s := sp.ready[n]
	sp.ready = slices.Delete(sp.ready, n, n+1)
	s.expire.Stop()
	return s.Stream
}

// refill makes fill run soon, if it does not yet. What one connection gives rise to
// is bounded: where to make a stream takes long, the first expire before the last is
// made.
func (sp *spares) refill() {
	if sp == nil {
		return
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.left = sp.want
	if !sp.closed && sp.filling == nil && sp.p.enter() {
		sp.work.Add(1)
		sp.filling = time.AfterFunc(spareDelay, sp.fill)
	}
}

// fill makes streams until there are enough or it has made its share, or one cannot
// be made. It dials nobody.
func (sp *spares) fill() {
	defer sp.filled()
	for sp.lacks() {
		ctx, cancel := context.WithTimeout(sp.ctx, sp.d.set.dialTimeout)
		s, _, err := sp.p.open(ctx, sp.d)
		cancel()
		if err != nil { // the next connection will meet the same, and tell
			sp.mu.Lock()
			sp.filling = nil
			sp.mu.Unlock()
			return
		}
		sp.put(s)
	}
}

// filled undoes what refill has counted.
func (sp *spares) filled() {
	sp.work.Done()
	sp.p.work.Done()
}

// lacks reports whether one more is to be made, and if not that fill is over.
func (sp *spares) lacks() bool {
	room := sp.p.slots.ample(sp.p.host.Network().ConnsToPeer(sp.d.peer))
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if !sp.closed && room && len(sp.ready) < sp.want && sp.left > 0 {
		sp.left--
		return true
	}
	sp.filling = nil
	return false
}

func (sp *spares) put(s network.Stream) {
	sp.mu.Lock()
	closed := sp.closed
	if !closed {
		one := &spare{Stream: s}
		one.expire = time.AfterFunc(SpareTime, func() { sp.expired(one) })
		sp.ready = append(sp.ready, one)
	}
	sp.mu.Unlock()
	if closed {
		dismiss(s)
	}
}

// expired closes a stream unless it was taken meanwhile.
func (sp *spares) expired(one *spare) {
	sp.mu.Lock()
	i := slices.Index(sp.ready, one)
	if i >= 0 {
		sp.ready = slices.Delete(sp.ready, i, i+1)
	}
	sp.mu.Unlock()
	if i >= 0 {
		dismiss(one.Stream)
	}
}

// dismiss ends a stream that nobody takes. Its service reads an end of file, and can
// write no more: yamux tells that by a reset alone, which leaves the end of file.
func dismiss(s network.Stream) {
	if isQUIC(s.Conn()) {
		_ = s.Close()
		return
	}
	_ = s.CloseWrite()
	_ = s.Reset()
}

// close ends those that wait, and waits for fill.
func (sp *spares) close() {
	if sp == nil {
		return
	}
	sp.cancel()
	sp.mu.Lock()
	sp.closed = true
	if sp.filling != nil && sp.filling.Stop() {
		sp.filled()
	}
	ready := sp.ready
	sp.ready = nil
	sp.mu.Unlock()
	for _, s := range ready {
		s.expire.Stop()
		dismiss(s.Stream)
	}
	sp.work.Wait()
}

// headSize is how much of what a service says first is taken off a spare stream
// to see whether it is still there.
const headSize = 512

// alive returns a stream that reads as s does, or nil when s has ended, on transports
// other than QUIC also when it has after a word. It does not wait. (A QUIC stream
// whose deadline has passed keeps what has come, and the end behind that.)
func alive(s network.Stream) network.Stream {
	if s.SetReadDeadline(time.Unix(1, 0)) != nil {
		return nil
	}
	head := make([]byte, 0, headSize)
	for n, late := 0, 0; late < 2 && len(head) < headSize; head = head[:len(head)+n] {
		var err error
		n, err = s.Read(head[len(head):headSize])
		switch {
		case err == nil:
		case isTimeout(err):
			late++ // QUIC comes upon an end in such a read, and tells it in the next
		default:
			return nil
		}
	}
	if s.SetReadDeadline(time.Time{}) != nil {
		return nil
	}
	if len(head) == 0 {
		return s
	}
	return &headed{Stream: s, head: head}
}

// headed is a stream of which the first bytes have been read.
type headed struct {
	network.Stream
	head []byte
}

// Read returns the first bytes, then those of the stream. While there are first
// bytes, reading into an empty p does not wait.
func (h *headed) Read(p []byte) (int, error) {
	if len(h.head) == 0 {
		return h.Stream.Read(p)
	}
	n := copy(p, h.head)
	h.head = h.head[n:]
	return n, nil
}
