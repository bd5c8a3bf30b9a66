package netservice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/sirupsen/logrus"

	"github.com/go-nebnet/nebnet/internal/obs"
	"github.com/go-nebnet/nebnet/internal/reqresp"
)

// downloadRun is a Download that runs: a few goroutines for each peer that fetch
// what the plan gives them, one that looks for peers, and the loop that takes the
// items.
type downloadRun[Item any] struct {
	d     Download[Item]
	s     *NebService
	ctx   context.Context
	wg    sync.WaitGroup
	began time.Time
	told  time.Time // the loop's

	mu      sync.Mutex // guards what follows
	plan    *reqresp.Plan
	items   map[uint64]brought[Item] // that have come and were not handed over
	brought map[peer.ID]uint64
	asked   map[peer.ID]context.CancelFunc
	liars   []peer.ID
	failed  error         // of the last fetch that did
	moved   time.Time     // when an item came last
	changed chan struct{} // closed at the next change
}

type brought[Item any] struct {
	item Item
	by   peer.ID
}

func newDownloadRun[Item any](ctx context.Context, d Download[Item], s *NebService) *downloadRun[Item] {
	now := time.Now()
	return &downloadRun[Item]{
		d: d, s: s, ctx: ctx, began: now, moved: now,
		plan:  reqresp.NewPlan(d.From, d.To, d.Chunk, d.Window),
		items: make(map[uint64]brought[Item]), brought: make(map[peer.ID]uint64),
		asked: make(map[peer.ID]context.CancelFunc), changed: make(chan struct{}),
	}
}

func (r *downloadRun[Item]) changeLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// await waits for a change, until a time or the end.
func (r *downloadRun[Item]) await(ctx context.Context, changed <-chan struct{}, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
	}
}

// supervise gives every peer that may be asked its goroutines, those that come later
// included.
func (r *downloadRun[Item]) supervise() {
	for r.ctx.Err() == nil {
		for _, p := range r.s.Peers() {
			if !r.d.Peers(p) {
				continue
			}
			r.mu.Lock()
			if r.asked[p.ID] == nil && !r.lied(p.ID) {
				ctx, cancel := context.WithCancel(r.ctx)
				r.asked[p.ID] = cancel
				var left sync.WaitGroup
				for range r.d.PerPeer {
					left.Add(1)
					r.wg.Go(func() {
						defer left.Done()
						r.fetchAll(ctx, p.ID)
					})
				}
				r.wg.Go(func() {
					left.Wait()
					cancel()
					r.gone(p.ID)
				})
			}
			r.mu.Unlock()
		}
		r.await(r.ctx, nil, time.Now().Add(time.Second))
	}
}

func (r *downloadRun[Item]) lied(p peer.ID) bool {
	return slices.Contains(r.liars, p)
}

// gone forgets a peer whose goroutines have ended; it may come again.
func (r *downloadRun[Item]) gone(p peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asked, p)
	r.plan.Remove(p)
	r.changeLocked()
}

// fetchAll fetches from one peer for as long as it is one.
func (r *downloadRun[Item]) fetchAll(ctx context.Context, p peer.ID) {
	for ctx.Err() == nil && r.s.node.peerSet.has(p) {
		r.mu.Lock()
		if r.plan.Done() {
			r.mu.Unlock()
			return
		}
		span, ok, again := r.plan.Take(p, time.Now())
		changed := r.changed
		r.mu.Unlock()
		if !ok {
			r.await(ctx, changed, again)
			continue
		}
		r.fetch(ctx, p, span)
	}
}

// fetch has a peer bring what it can of a span.
func (r *downloadRun[Item]) fetch(ctx context.Context, p peer.ID, span reqresp.Span) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began, index := time.Now(), span.From
	var failure error
	useful := true
	for item, err := range r.d.Fetch(ctx, p, span.From, span.To-span.From) {
		if err == nil && index == span.To {
			break
		}
		if err == nil {
			if bad := r.d.Verify(index, item); bad != nil {
				r.lie(p, index, bad)
				return
			}
		}
		if err != nil {
			failure = err
			break
		}
		if useful = r.bring(p, span.Part, index, item); !useful {
			break // another one was faster
		}
		index++
	}
	if failure == nil && useful && index < span.To {
		failure = fmt.Errorf("%s has no item %d", p, index)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if failure != nil && ctx.Err() == nil {
		r.failed = failure
	}
	now := time.Now()
	r.plan.Finish(p, span.Part, index-span.From, now.Sub(began), failure != nil, now)
	r.changeLocked()
}

// bring hands an item in, and tells whether the peer should go on.
func (r *downloadRun[Item]) bring(p peer.ID, part *reqresp.Part, index uint64, item Item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lied(p) {
		return false
	}
	isNew, more := r.plan.Bring(p, part, index)
	if !isNew {
		return more
	}
	r.items[index] = brought[Item]{item, p}
	r.brought[p]++
	r.moved = time.Now()
	if index == r.plan.Next() {
		r.changeLocked()
	}
	return true
}

// lie ends what there is with a peer that brought a wrong item.
func (r *downloadRun[Item]) lie(p peer.ID, index uint64, why error) {
	r.mu.Lock()
	known := r.lied(p)
	if !known {
		r.liars = append(r.liars, p)
		if cancel := r.asked[p]; cancel != nil {
			cancel()
		}
		r.plan.Remove(p)
		r.changeLocked()
	}
	r.mu.Unlock()
	if known {
		return
	}
	r.s.obs.WarnLimited("requests", "lie/"+p.String(), logrus.Fields{
		"peer": p.String(), "item": index, "error": obs.Clean(why.Error()),
	}, "a peer brought a wrong item")
	if r.d.BanFor >= 0 {
		r.s.node.peers.Ban(p, r.d.BanFor, "brought a wrong item")
	}
}

// next waits for the item whose turn it is. ok is false at the end.
func (r *downloadRun[Item]) next() (item Item, ok bool, err error) {
	for {
		r.mu.Lock()
		if r.plan.Done() {
			r.mu.Unlock()
			return item, false, nil
		}
		index := r.plan.Next()
		if _, ready := r.plan.Ready(); ready {
			b := r.items[index]
			r.mu.Unlock()
			if bad := r.d.Follow(index, b.item); bad != nil {
				r.lie(b.by, index, bad)
				r.takeBack(index)
				continue
			}
			r.mu.Lock()
			delete(r.items, index)
			r.plan.HandOver()
			if index%uint64(r.d.Chunk) == 0 || r.plan.Done() {
				r.changeLocked() // there may be room in the window
			}
			r.mu.Unlock()
			return b.item, true, nil
		}
		changed, moved, failed := r.changed, r.moved, r.failed
		r.mu.Unlock()
		if r.ctx.Err() != nil {
			return item, false, context.Cause(r.ctx)
		}
		if err := r.s.running(); err != nil {
			return item, false, err
		}
		if time.Since(moved) >= r.d.Patience {
			return item, false, errors.Join(ErrNoProgress, failed)
		}
		r.await(r.ctx, changed, moved.Add(r.d.Patience))
	}
}

// takeBack drops what has come after a wrong item: it may follow that.
func (r *downloadRun[Item]) takeBack(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for to := r.plan.Rewind(); index < to; index++ {
		delete(r.items, index)
	}
	r.changeLocked()
}
