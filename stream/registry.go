package stream

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/rcrowley/go-metrics"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// Limits bounds running streams. Zero means no bound.
type Limits struct {
	Total   int // streams in all
	PerPeer int // streams of one peer
}

// Config is what a Registry needs.
type Config struct {
	Metrics metrics.Registry // where streams and bytes are counted; nil: nowhere to be seen
	Limits  Limits           // over all groups together
	// Hold and Release are told when a peer gets its first stream and loses
	// its last. Calls for one peer alternate. Both may be nil.
	Hold, Release func(peer.ID)
	// Pace, if not nil, is given each network stream before it carries data, and
	// returns what is used in its place: one that writes when others on the
	// connection let it. urgent is that of the stream's group.
	Pace func(s network.Stream, urgent bool) network.Stream
}

// Registry knows the running streams. It is safe for concurrent use, and hands
// out snapshots only.
type Registry struct {
	met     *instruments
	limits  Limits
	bufs    buffers
	protect protector
	pace    func(network.Stream, bool) network.Stream

	mu      sync.Mutex // guards the fields below and those of its groups
	last    uint64
	streams map[uint64]*Stream
	perPeer map[peer.ID]int
	closed  bool
}

// NewRegistry returns an empty registry.
func NewRegistry(cfg Config) *Registry {
	if cfg.Pace == nil {
		cfg.Pace = func(s network.Stream, _ bool) network.Stream { return s }
	}
	return &Registry{
		met:     newInstruments(obs.Quiet(nil, cfg.Metrics)),
		limits:  cfg.Limits,
		bufs:    newBuffers(),
		pace:    cfg.Pace,
		protect: protector{hold: cfg.Hold, release: cfg.Release, count: make(map[peer.ID]int)},
		streams: make(map[uint64]*Stream),
		perPeer: make(map[peer.ID]int),
	}
}

// List returns the running streams in the order in which they were opened.
func (r *Registry) List() []Info { return infos(r.match(nil)) }

// Len is the number of running streams.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.streams)
}

// Get returns one running stream.
func (r *Registry) Get(id uint64) (Info, bool) {
	r.mu.Lock()
	s := r.streams[id]
	r.mu.Unlock()
	if s == nil {
		return Info{}, false
	}
	return s.Info(), true
}

// Close resets the streams that match and returns them as they were, when
// their goroutines have ended. Both ends see a reset.
func (r *Registry) Close(m Match) []Info { return closeAll(r.match(m)) }

// Shutdown refuses new streams from now on, resets all and waits for them.
func (r *Registry) Shutdown() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.Close(All())
}

func (r *Registry) match(m Match) []*Stream {
	r.mu.Lock()
	all := make([]*Stream, 0, len(r.streams))
	for _, s := range r.streams {
		all = append(all, s)
	}
	r.mu.Unlock()
	return filter(all, m)
}

func filter(all []*Stream, m Match) []*Stream {
	if m != nil {
		all = slices.DeleteFunc(all, func(s *Stream) bool { return !m(s.Info()) })
	}
	slices.SortFunc(all, func(a, b *Stream) int { return cmp.Compare(a.id, b.id) })
	return all
}

func infos(list []*Stream) []Info {
	out := make([]Info, len(list))
	for i, s := range list {
		out[i] = s.Info()
	}
	return out
}

func closeAll(list []*Stream) []Info {
	out := infos(list)
	var wg sync.WaitGroup
	for _, s := range list {
		// A reset may have to wait for a connection that is stuck, so that one
		// dead peer must not hold up the rest.
		wg.Go(func() { s.kill(ErrClosed); <-s.done })
	}
	wg.Wait()
	return out
}

// Settings is what the streams of a group have in common.
type Settings struct {
	Listener uint64 // identity of the listener they belong to, 0 for none
	Protocol protocol.ID
	Limits   Limits
	Idle     time.Duration // 0: no idle timeout
	Stall    time.Duration // 0: DefaultStall
	Urgent   bool          // what Config.Pace is told
}

// DefaultStall is how long a peer that has finished sending may take no data
// before the stream is reset.
const DefaultStall = 5 * time.Minute

// NewGroup returns the place for the streams of one listener, or of one
// protocol that is dialled.
func (r *Registry) NewGroup(set Settings) *Group {
	if set.Stall <= 0 {
		set.Stall = DefaultStall
	}
	return &Group{reg: r, set: set, streams: make(map[uint64]*Stream), perPeer: make(map[peer.ID]int)}
}

// Open registers a stream that is about to be dialled or served, if the limits
// allow. The context ends when the stream is closed meanwhile. Whoever opens a
// stream must end it, by Bridge, by Conn (whose Close ends it) or by Fail.
func (g *Group) Open(ctx context.Context, p peer.ID, dir Direction) (*Stream, context.Context, error) {
	s := &Stream{group: g, peer: p, dir: dir, opened: time.Now(), done: make(chan struct{})}
	if err := g.add(s); err != nil {
		g.Refuse(err)
		return nil, nil, err
	}
	g.accepted.Add(1)
	g.reg.met.opened.Inc(1)
	g.reg.protect.add(p)
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	err := s.err
	s.cancel = cancel
	s.mu.Unlock()
	if err != nil { // closed since it was added
		cancel(err)
	}
	return s, ctx, nil
}

func (g *Group) add(s *Stream) error {
	r := g.reg
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed || g.closed:
		return ErrClosed
	case over(len(g.streams), g.set.Limits.Total):
		return &LimitError{ScopeTunnel, g.set.Limits.Total, "WithMaxStreams"}
	case over(g.perPeer[s.peer], g.set.Limits.PerPeer):
		return &LimitError{ScopeTunnelPeer, g.set.Limits.PerPeer, "WithMaxStreamsPerPeer"}
	case over(len(r.streams), r.limits.Total):
		return &LimitError{ScopeTotal, r.limits.Total, "WithMaxStreams"}
	case over(r.perPeer[s.peer], r.limits.PerPeer):
		return &LimitError{ScopePeer, r.limits.PerPeer, "WithMaxStreamsPerPeer"}
	}
	r.last++
	s.id = r.last
	r.streams[s.id] = s
	r.perPeer[s.peer]++
	g.streams[s.id] = s
	g.perPeer[s.peer]++
	r.met.active.Update(int64(len(r.streams)))
	return nil
}

// pace is the network stream that carries a stream of the group.
func (g *Group) pace(s network.Stream) network.Stream { return g.reg.pace(s, g.set.Urgent) }

func over(have, limit int) bool { return limit > 0 && have >= limit }

func (g *Group) remove(s *Stream) {
	r := g.reg
	r.mu.Lock()
	delete(r.streams, s.id)
	decrement(r.perPeer, s.peer)
	delete(g.streams, s.id)
	decrement(g.perPeer, s.peer)
	r.met.active.Update(int64(len(r.streams)))
	empty := g.emptyLocked()
	r.mu.Unlock()
	r.protect.remove(s.peer)
	if empty != nil {
		empty()
	}
}

func decrement(m map[peer.ID]int, p peer.ID) {
	if m[p]--; m[p] <= 0 {
		delete(m, p)
	}
}
