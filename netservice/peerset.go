package netservice

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/lifecycle"
	"github.com/go-nebnet/nebnet/internal/session"
)

// peerSet is the one book of who is a peer, and who is becoming one: an entry
// lives from the first hello with a peer, or the first who waits for one, to the
// end of the session. Engines ask it, and none keeps a book of its own. It owns
// one goroutine per handshake under way and one per session that ends.
type peerSet struct {
	n      *Node
	ctx    context.Context // ends all handshakes
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	view atomic.Pointer[peerView] // replaced as a whole under mu

	mu        sync.Mutex // guards what follows, and what entries say it does; never held while calling out
	closing   bool
	undecided map[network.Conn]*undecided
	// forgetting are the timers of peers that are about to be forgotten.
	forgetting map[*time.Timer]bool
	made       uint64 // how many sessions there ever were
	sweeper    *time.Timer
	idle       map[network.Conn]bool // connections that sweep saw without use; the sweeper's own
}

// peerView is the set at one moment. The path of every message reads it, without
// a lock.
type peerView struct {
	entries map[peer.ID]*peerEntry
	names   map[string]*sessionPeer // those with a session, by the text of the ID
	order   []*sessionPeer          // the same ones, by ID: what chooses among them at random must find them in the same order again
}

// withNames is the view after a change among those with a session.
func (v *peerView) withNames(names map[string]*sessionPeer) *peerView {
	order := slices.SortedFunc(maps.Values(names), func(a, b *sessionPeer) int { return cmp.Compare(a.name, b.name) })
	return &peerView{entries: v.entries, names: names, order: order}
}

// withEntries is the view after a change among the others.
func (v *peerView) withEntries(entries map[peer.ID]*peerEntry) *peerView {
	return &peerView{entries: entries, names: v.names, order: v.order}
}

// peerEntry is one peer in the set.
type peerEntry struct {
	session atomic.Pointer[sessionPeer] // nil before the first and after the last; set under the set's lock

	// Guarded by the set's lock.
	ending   []*sessionPeer // sessions that are not over yet, that one included
	hellos   []*handshaking // handshakes under way
	waits    int            // that have begun and not ended
	streams  int            // inbound streams among them
	failures uint64         // handshakes that failed
	failure  error          // the last of them
	payload  *[]byte        // renewed before the session was in the set
	changed  chan struct{}  // closed at the next change, for those who wait
}

func newPeerSet(n *Node) *peerSet {
	s := &peerSet{
		n:          n,
		undecided:  make(map[network.Conn]*undecided),
		forgetting: make(map[*time.Timer]bool),
	}
	s.view.Store(&peerView{entries: make(map[peer.ID]*peerEntry), names: make(map[string]*sessionPeer)})
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// start takes hellos and watches connections, those that exist already on an
// injected host included.
func (s *peerSet) start() {
	for _, id := range handshake.Protocols(s.n.network) {
		s.n.host.SetStreamHandler(id, s.answer)
	}
	s.n.host.Network().Notify(s)
	for _, c := range s.n.host.Network().Conns() {
		s.Connected(nil, c)
	}
	if s.n.opts.host == nil {
		s.mu.Lock()
		s.sweeper = time.AfterFunc(sweepEvery, s.sweep)
		s.mu.Unlock()
	}
}

// refuseNew lets no handshake begin any more and ends those under way.
func (s *peerSet) refuseNew() {
	s.mu.Lock()
	s.closing = true
	if s.sweeper != nil {
		s.sweeper.Stop()
	}
	for c := range s.undecided {
		s.helloCameLocked(c)
	}
	for t := range s.forgetting {
		t.Stop()
	}
	clear(s.forgetting)
	s.mu.Unlock()
	s.n.host.Network().StopNotify(s)
	for _, id := range handshake.Protocols(s.n.network) {
		s.n.host.RemoveStreamHandler(id)
	}
	s.cancel(handshake.ReasonShuttingDown)
}

// close waits for every goroutine, after refuseNew and once all sessions have
// ended.
func (s *peerSet) close(ctx context.Context) error {
	if !lifecycle.Ended(ctx, lifecycle.Go(s.wg.Wait)) {
		return fmt.Errorf("a callback (WithPeerCheck, WithPayload) has not returned: %w", ctx.Err())
	}
	return nil
}

// get returns the peer if there is a session with it, else nil.
func (s *peerSet) get(p peer.ID) *sessionPeer {
	if e := s.view.Load().entries[p]; e != nil {
		return e.session.Load()
	}
	return nil
}

// named is get for the text of an ID.
func (s *peerSet) named(id string) *sessionPeer { return s.view.Load().names[id] }

// has tells whether there is a session with a peer.
func (s *peerSet) has(p peer.ID) bool { return s.get(p) != nil }

// all returns the peers with a session, by ID. The slice may not be changed.
func (s *peerSet) all() []*sessionPeer { return s.view.Load().order }

// entryLocked finds a peer's entry, or makes it.
func (s *peerSet) entryLocked(p peer.ID) *peerEntry {
	old := s.view.Load()
	if e := old.entries[p]; e != nil {
		return e
	}
	e := &peerEntry{changed: make(chan struct{})}
	entries := maps.Clone(old.entries)
	entries[p] = e
	s.view.Store(old.withEntries(entries))
	return e
}

// changedLocked wakes who waits for a peer, and forgets it if nothing is left.
func (s *peerSet) changedLocked(p peer.ID, e *peerEntry) {
	if e.waits > 0 {
		close(e.changed)
		e.changed = make(chan struct{})
	}
	old := s.view.Load()
	if len(e.ending) > 0 || len(e.hellos) > 0 || e.waits > 0 || old.entries[p] != e {
		return
	}
	entries := maps.Clone(old.entries)
	delete(entries, p)
	s.view.Store(old.withEntries(entries))
}

// putLocked makes a session that of its peer, in place of an older one.
func (s *peerSet) putLocked(e *peerEntry, k *sessionPeer) {
	old := s.view.Load()
	names := maps.Clone(old.names)
	names[k.name] = k
	e.ending = append(e.ending, k)
	e.session.Store(k)
	s.view.Store(old.withNames(names))
}

// removeLocked takes a session out that is over, and tells whether it was that of
// its peer up to now.
func (s *peerSet) removeLocked(e *peerEntry, k *sessionPeer) (last bool) {
	e.ending = slices.DeleteFunc(e.ending, func(o *sessionPeer) bool { return o == k })
	if !e.session.CompareAndSwap(k, nil) {
		return false
	}
	old := s.view.Load()
	names := maps.Clone(old.names)
	delete(names, k.name)
	s.view.Store(old.withNames(names))
	return true
}

// onLocked is the latest session on a connection that is not over.
func (e *peerEntry) onLocked(c network.Conn) *sessionPeer {
	for _, k := range slices.Backward(e.ending) {
		if k.conn == c {
			return k
		}
	}
	return nil
}

// shakingLocked tells whether a handshake is under way on a connection.
func (e *peerEntry) shakingLocked(c network.Conn) bool {
	return slices.ContainsFunc(e.hellos, func(x *handshaking) bool { return x.c == c })
}

// usedLocked tells whether there is, or may soon be, a session on a connection.
func (s *peerSet) usedLocked(c network.Conn) bool {
	e := s.view.Load().entries[c.RemotePeer()]
	return s.awaitsHelloLocked(c) || e != nil && (e.onLocked(c) != nil || e.shakingLocked(c))
}

// Shared implements session.Peers.
func (s *peerSet) Shared(of *session.Session) bool {
	c := of.Conn()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.view.Load().entries[c.RemotePeer()]
	if e == nil {
		return false
	}
	k := e.onLocked(c)
	return e.shakingLocked(c) || k != nil && k.session != of
}
