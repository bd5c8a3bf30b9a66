package gossip

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

var errStranger = errors.New("gossip: peer is not a member")

// gatedHost is the host as go-libp2p-pubsub sees it: streams come and go only
// with peers that may take part, and all of them are known, so that Close can
// end them and wait.
type gatedHost struct {
	host.Host
	l *lane
}

// NewStream opens the stream once the peer may take part. go-libp2p-pubsub calls
// it in a goroutine per peer, and queues frames for the peer meanwhile; after an
// error it lets go of them and tells nobody.
func (h *gatedHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	if !h.l.calls.enter() {
		return nil, ErrClosed
	}
	defer h.l.calls.leave()
	s, err := h.open(ctx, p, ids)
	if err != nil {
		h.l.forgetFrames(p)
		return nil, err
	}
	return s, nil
}

func (h *gatedHost) open(ctx context.Context, p peer.ID, ids []protocol.ID) (network.Stream, error) {
	st := h.l.e.members.await(ctx, p)
	if st == stranger {
		return nil, errStranger
	}
	h.l.backlog.expect(p)
	if err := sleep(ctx, h.l.streams.rest(p)); err != nil {
		return nil, err
	}
	s, err := h.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	g := newStream(s, h.l, true, st)
	if !h.l.streams.add(g) {
		_ = s.Reset()
		return nil, ErrClosed
	}
	return g, nil
}

// SetStreamHandler passes a peer's streams on once the peer may take part. Until
// then nothing of them is read.
func (h *gatedHost) SetStreamHandler(id protocol.ID, handle network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(s network.Stream) {
		if !h.l.calls.enter() {
			_ = s.Reset()
			return
		}
		defer h.l.calls.leave()
		g := newStream(s, h.l, false, stranger)
		if !h.l.streams.add(g) {
			_ = s.Reset()
			return
		}
		defer h.l.departed(g)
		st := h.l.e.members.await(h.l.ctx, g.p)
		if st == stranger {
			_ = s.Reset()
			return
		}
		g.st.Store(uint32(st))
		handle(g)
		h.l.renew(g.p, true)
	})
}

// departed forgets an inbound stream, and a peer of which nothing is left. What is
// queued for a stream to it that is being opened stays.
func (l *lane) departed(g *stream) {
	l.streams.remove(g)
	if len(l.streams.of(g.p, func(*stream) bool { return true })) == 0 {
		l.gone(g.p)
	}
}

// streams are the open gossip streams of a lane.
type streams struct {
	mu     sync.Mutex // guards the fields below
	closed bool
	byPeer map[peer.ID][]*stream
	died   map[peer.ID]time.Time // outbound streams that ended of late
}

func newStreams() streams {
	return streams{byPeer: make(map[peer.ID][]*stream), died: make(map[peer.ID]time.Time)}
}

// reopenAfter is how long after the end of a stream the next one is opened. The
// peer must have noticed the end first: it forgets our subscriptions at that
// moment, and would forget those that a quicker stream had brought.
const reopenAfter = 500 * time.Millisecond

// ended notes that the stream to a peer has ended.
func (ss *streams) ended(p peer.ID) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.died) >= 1024 {
		for q, at := range ss.died {
			if now().Sub(at) >= reopenAfter {
				delete(ss.died, q)
			}
		}
	}
	ss.died[p] = now()
}

// rest returns how long to wait before a stream to a peer is opened.
func (ss *streams) rest(p peer.ID) time.Duration {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	at, ok := ss.died[p]
	if !ok {
		return 0
	}
	delete(ss.died, p)
	return reopenAfter - now().Sub(at)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// maxStreams is how many streams of a peer, both ways, are kept: one each way,
// and those that are just being replaced.
const maxStreams = 8

func (ss *streams) add(s *stream) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	old := ss.byPeer[s.p]
	if ss.closed || len(old) >= maxStreams {
		return false
	}
	ss.byPeer[s.p] = append(old, s)
	return true
}

func (ss *streams) remove(s *stream) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	left := slices.DeleteFunc(ss.byPeer[s.p], func(o *stream) bool { return o == s })
	if len(left) == 0 {
		delete(ss.byPeer, s.p)
		return
	}
	ss.byPeer[s.p] = left
}

// of returns a peer's streams for which keep is true.
func (ss *streams) of(p peer.ID, keep func(*stream) bool) []*stream {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var out []*stream
	for _, s := range ss.byPeer[p] {
		if keep(s) {
			out = append(out, s)
		}
	}
	return out
}

// all returns everybody's streams for which keep is true.
func (ss *streams) all(keep func(*stream) bool) []*stream {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.allLocked(keep)
}

func (ss *streams) allLocked(keep func(*stream) bool) []*stream {
	var out []*stream
	for _, of := range ss.byPeer {
		for _, s := range of {
			if keep(s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// close refuses further streams and returns those that there are.
func (ss *streams) close() []*stream {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.closed = true
	return ss.allLocked(func(*stream) bool { return true })
}
