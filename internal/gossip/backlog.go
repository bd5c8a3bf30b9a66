package gossip

import (
	"slices"
	"sync"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// backlog knows what waits for each peer. The router queues frames for a peer
// from the moment it has heard of it; whether there will be a stream to write
// them to is known later.
type backlog struct {
	limit int64

	mu    sync.Mutex // guards the fields below
	peers map[peer.ID]*waiting
	idle  chan struct{} // closed when nothing waits; nil if nobody wants to know
}

// waiting are the frames for one peer.
type waiting struct {
	bytes  int64
	frames []frame
	early  []int // sizes of frames that were written before they were put
	live   bool  // there is a stream, or one is being opened
	hello  bool  // the next frame that is written is the stream's first, which is never put
}

type frame struct {
	size    int
	publish []*pb.Message
}

func newBacklog(limit int64) *backlog {
	return &backlog{limit: limit, peers: make(map[peer.ID]*waiting)}
}

// expect notes that a stream to a peer is being opened: what waits for the peer
// will be written, unless forget is called.
func (b *backlog) expect(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ofLocked(p).live = true
}

// opened notes that there is a stream to a peer, and whether it begins with a
// frame of its own.
func (b *backlog) opened(p peer.ID, hello bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.ofLocked(p)
	w.live, w.hello, w.early = true, hello, nil
}

func (b *backlog) ofLocked(p peer.ID) *waiting {
	w := b.peers[p]
	if w == nil {
		w = new(waiting)
		b.peers[p] = w
	}
	return w
}

// put adds a frame and reports whether the peer's bound has been crossed by it.
// The router calls it right after it has put the frame into the peer's queue, so
// that the frame may be written already.
func (b *backlog) put(p peer.ID, size int, publish []*pb.Message) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.ofLocked(p)
	if i := slices.Index(w.early, size); i >= 0 {
		w.early = slices.Delete(w.early, i, i+1)
		b.tidyLocked(p, w)
		return false
	}
	was := w.bytes
	w.bytes += int64(size)
	w.frames = append(w.frames, frame{size, publish})
	return was <= b.limit && w.bytes > b.limit
}

// take removes a frame that was written. Control messages overtake others, so
// it is found by its size. A stream that was given up may have written it: then
// it is forgotten already.
func (b *backlog) take(p peer.ID, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.peers[p]
	if w == nil || !w.live {
		return
	}
	if w.hello {
		w.hello = false
		return
	}
	i := slices.IndexFunc(w.frames, func(f frame) bool { return f.size == size })
	switch {
	case i >= 0:
		w.bytes -= int64(size)
		copy(w.frames[1:i+1], w.frames[:i]) // most often nothing
		w.frames[0] = frame{}
		w.frames = w.frames[1:]
	case len(w.early) < maxEarly:
		w.early = append(w.early, size)
	}
	b.tidyLocked(p, w)
}

// maxEarly is more frames than can be written while one is being put.
const maxEarly = 16

// tidyLocked lets go of what is not needed.
func (b *backlog) tidyLocked(p peer.ID, w *waiting) {
	if len(w.frames) > 0 {
		return
	}
	w.frames = nil
	if len(w.early) == 0 && !w.live {
		delete(b.peers, p)
	}
	b.signalLocked()
}

func (b *backlog) of(p peer.ID) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.peers[p]; w != nil {
		return w.bytes
	}
	return 0
}

// forget removes all frames of a peer to which there is no stream any more, and
// returns the messages in them.
func (b *backlog) forget(p peer.ID) (lost []*pb.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.peers[p]; w != nil {
		for _, f := range w.frames {
			lost = append(lost, f.publish...)
		}
		delete(b.peers, p)
		b.signalLocked()
	}
	return lost
}

// signalLocked tells those who wait for the end.
func (b *backlog) signalLocked() {
	if b.idle == nil {
		return
	}
	for _, w := range b.peers {
		if w.live && len(w.frames) > 0 {
			return
		}
	}
	close(b.idle)
	b.idle = nil
}

// empty returns a channel that is closed once nothing waits that will be written.
func (b *backlog) empty() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.idle != nil {
		return b.idle
	}
	b.idle = make(chan struct{})
	idle := b.idle
	b.signalLocked()
	return idle
}
