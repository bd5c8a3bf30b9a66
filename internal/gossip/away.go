package gossip

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rcrowley/go-metrics"
)

const (
	// maxAway is how many turned-away messages of a type are remembered.
	maxAway = 1 << 14
	// askAgain is how long an answer to a request is waited for before a peer is
	// asked again.
	askAgain = 3 * time.Second
	// askAfter is how long a message that was turned away is left alone: most
	// often it comes again by itself.
	askAfter = 500 * time.Millisecond
)

// away remembers messages that were turned away, by their ID. The overlay has
// seen them and takes every further copy for a duplicate; this is how the engine
// knows better. When there is no room for another one, the oldest is forgotten.
type away struct {
	n         atomic.Int64    // size, to be read without the lock
	forgotten metrics.Counter // those that had to make room

	mu    sync.Mutex // guards the fields below
	limit int
	byID  map[string]*list.Element
	order *list.List // of *turned, oldest first
}

type turned struct {
	id    string
	sum   [32]byte  // of the message, so that a forged copy under the same ID is not taken
	from  []peer.ID // who has it, as far as is known; the first to be asked first
	at    time.Time
	asked time.Time
	quiet bool // it is not asked for
	held  bool // a copy has come and is being judged
}

// maxHolders is how many peers that have a message are remembered.
const maxHolders = 3

// noSum is the sum of messages whose copies need not be told apart.
func noSum() (sum [32]byte) { return sum }

func newAway(limit int, forgotten metrics.Counter) *away {
	return &away{forgotten: forgotten, limit: limit, byID: make(map[string]*list.Element), order: list.New()}
}

// add remembers a message that came from a peer; others may be known to have it.
func (a *away) add(id string, sum [32]byte, now time.Time, from peer.ID, others ...peer.ID) {
	t := &turned{id: id, sum: sum, from: []peer.ID{from}, at: now}
	for _, p := range others {
		t.heldBy(p)
	}
	a.put(t)
}

// addQuietly remembers a message that is taken when it comes again, and not
// asked for.
func (a *away) addQuietly(id string, sum [32]byte, now time.Time) {
	a.put(&turned{id: id, sum: sum, at: now, quiet: true})
}

func (a *away) put(t *turned) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.byID[t.id]; e != nil {
		old := e.Value.(*turned)
		for _, p := range t.from {
			old.heldBy(p)
		}
		if old.held { // and its copy was turned away too
			t.from = old.from
			*old = *t
			a.order.MoveToBack(e)
		}
		return
	}
	if a.order.Len() >= a.limit {
		oldest := a.order.Front()
		if !oldest.Value.(*turned).held {
			a.forgotten.Inc(1)
		}
		a.removeLocked(oldest)
	}
	a.byID[t.id] = a.order.PushBack(t)
	a.n.Store(int64(a.order.Len()))
}

// heldBy notes one more peer that has the message.
func (t *turned) heldBy(p peer.ID) {
	if len(t.from) < maxHolders && !slices.Contains(t.from, p) {
		t.from = append(t.from, p)
	}
}

// announced notes that a peer has these messages. It returns false if none of
// them is here.
func (a *away) announced(p peer.ID, ids []string) (any bool) {
	if a.n.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if e := a.byID[id]; e != nil {
			e.Value.(*turned).heldBy(p)
			any = true
		}
	}
	return any
}

// hold reports whether a message is here and nobody holds it, and holds it: a
// copy is being judged. Release must follow; meanwhile the message is not asked
// for, and whoever else has it is still noted. sum is called only if it may be
// here.
func (a *away) hold(id string, sum func() [32]byte) bool {
	if a.n.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.byID[id]
	if e == nil {
		return false
	}
	t := e.Value.(*turned)
	if t.held || t.sum != sum() {
		return false
	}
	t.held = true
	return true
}

// release forgets a message that is held, unless it was added again meanwhile.
func (a *away) release(id string) {
	if a.n.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.byID[id]; e != nil && e.Value.(*turned).held {
		a.removeLocked(e)
	}
}

// holders returns who has a message.
func (a *away) holders(id string) []peer.ID {
	if a.n.Load() == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.byID[id]; e != nil {
		return slices.Clone(e.Value.(*turned).from)
	}
	return nil
}

// ask returns those of ids that are here and not being asked for, at most limit,
// and notes that they are asked for now.
func (a *away) ask(ids []string, limit int, now time.Time) []string {
	if a.n.Load() == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, id := range ids {
		if len(out) >= limit {
			break
		}
		e := a.byID[id]
		if e == nil {
			continue
		}
		if t := e.Value.(*turned); !t.held && now.Sub(t.asked) >= askAgain {
			t.asked = now
			out = append(out, id)
		}
	}
	return out
}

// due returns the messages, by sender and at most limit, that should be asked for
// because they have not come again and are not older than ttl, and notes that
// they are.
func (a *away) due(limit int, now time.Time, ttl time.Duration) map[peer.ID][]string {
	if a.n.Load() == 0 || limit <= 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[peer.ID][]string)
	// The newest last: those will be offered for longer.
	for e := a.order.Front(); e != nil && limit > 0; e = e.Next() {
		t := e.Value.(*turned)
		if age := now.Sub(t.at); t.held || t.quiet || len(t.from) == 0 || age < askAfter || age > ttl || now.Sub(t.asked) < askAgain {
			continue
		}
		t.asked = now
		p := t.from[0]
		t.from = append(t.from[1:], p) // the next time another
		out[p] = append(out[p], t.id)
		limit--
	}
	return out
}

// expire forgets what is older than ttl.
func (a *away) expire(now time.Time, ttl time.Duration) {
	if a.n.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for e := a.order.Front(); e != nil && now.Sub(e.Value.(*turned).at) > ttl; e = a.order.Front() {
		if !e.Value.(*turned).held {
			a.forgotten.Inc(1)
		}
		a.removeLocked(e)
	}
}

func (a *away) removeLocked(e *list.Element) {
	delete(a.byID, e.Value.(*turned).id)
	a.order.Remove(e)
	a.n.Store(int64(a.order.Len()))
}
