package reqresp

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Plan says who fetches what of a range of items: the pure part of a download. It
// has no clock and no lock of its own.
//
// The range is cut into parts, of which a window is open at a time. A part is
// fetched by one peer, item by item; what is left of it when that peer fails goes
// to the next one. A peer with nothing else to do takes over beside slower ones: the
// first to bring an item counts, and who took over last goes on until the end.
type Plan struct {
	next, end    uint64 // handed over up to; of the range
	cut          uint64 // parts have been made up to
	chunk        uint64
	window       int
	parts        []*Part // open ones, in order
	workers      map[peer.ID]*worker
	slowAtLeast  time.Duration
	defaultEvery time.Duration
}

// Part is a piece of the range, to be fetched by one peer or several at once.
type Part struct {
	from, to uint64
	got      uint64 // the next item that is missing
	fetchers []fetcher
}

type fetcher struct {
	peer  peer.ID
	since time.Time
	first uint64
}

// Span is what one peer is to fetch.
type Span struct {
	Part     *Part
	From, To uint64
}

// worker is what is known of a peer that fetches.
type worker struct {
	every    time.Duration // smoothed time for an item; 0: not known
	failures int           // in a row
	resume   time.Time     // when it may be asked again after a failure
	items    uint64
}

// NewPlan plans the items from (included) to end (excluded), in parts of chunk
// items, of which at most window are open.
func NewPlan(from, end uint64, chunk, window int) *Plan {
	return &Plan{
		next: from, end: end, cut: from, chunk: uint64(chunk), window: window,
		workers:     make(map[peer.ID]*worker),
		slowAtLeast: 50 * time.Millisecond, defaultEvery: 20 * time.Millisecond,
	}
}

// Next is the first item that has not been handed over; Done says that it is the
// end.
func (p *Plan) Next() uint64 { return p.next }
func (p *Plan) Done() bool   { return p.next >= p.end }

func (p *Plan) worker(id peer.ID) *worker {
	w := p.workers[id]
	if w == nil {
		w = new(worker)
		p.workers[id] = w
	}
	return w
}

// Take gives a peer something to fetch. Without, it may ask again at the time
// returned, or when something has changed.
func (p *Plan) Take(id peer.ID, now time.Time) (s Span, ok bool, again time.Time) {
	w := p.worker(id)
	if w.resume.After(now) {
		return Span{}, false, w.resume
	}
	for _, part := range p.parts {
		if len(part.fetchers) == 0 && part.got < part.to {
			return part.give(id, now), true, time.Time{}
		}
	}
	// What is soon to be handed over comes before what is new: else a slow peer is
	// only noticed when everybody waits for its part.
	if soon := p.parts[:min(len(p.parts), p.window/4)]; len(p.parts) > p.window/2 {
		for _, part := range soon {
			if p.worthTaking(part, id, w, now) {
				return part.give(id, now), true, time.Time{}
			}
		}
	}
	if len(p.parts) < p.window && p.cut < p.end {
		part := &Part{from: p.cut, to: min(p.cut+p.chunk, p.end), got: p.cut}
		p.cut = part.to
		p.parts = append(p.parts, part)
		return part.give(id, now), true, time.Time{}
	}
	again = now.Add(p.slowAtLeast)
	for _, part := range p.parts {
		if p.worthTaking(part, id, w, now) {
			return part.give(id, now), true, time.Time{}
		}
	}
	return Span{}, false, again
}

// worthTaking tells whether a peer would bring what is left of a part in less than
// half of the time of those that hold it. One that took over may turn out to be no
// better: it may have died since, and then the part needs a third.
func (p *Plan) worthTaking(part *Part, id peer.ID, w *worker, now time.Time) bool {
	if part.got >= part.to {
		return false
	}
	left := time.Duration(part.to - part.got)
	mine := w.every
	if mine == 0 {
		mine = p.defaultEvery
	}
	for _, h := range part.fetchers {
		elapsed := now.Sub(h.since)
		theirs := elapsed / time.Duration(max(part.got-h.first, 1))
		if h.peer == id || elapsed < p.slowAtLeast || theirs*left <= 2*mine*left+p.slowAtLeast/2 {
			return false
		}
	}
	return true
}

func (part *Part) give(id peer.ID, now time.Time) Span {
	part.fetchers = append(part.fetchers, fetcher{id, now, part.got})
	return Span{part, part.got, part.to}
}

// Bring books an item of a part. New says that it is the next one that was missing,
// and more that the peer should go on: one that took over goes on when the one
// before it was faster this once, else it would never get past a peer that is slow.
func (p *Plan) Bring(id peer.ID, part *Part, index uint64) (isNew, more bool) {
	if index < part.got {
		n := len(part.fetchers)
		return false, n > 0 && part.fetchers[n-1].peer == id && part.got < part.to
	}
	if index > part.got || index >= part.to {
		return false, false
	}
	part.got++
	p.worker(id).items++
	return true, true
}

// Finish ends a span, whose peer took so long for so many items. failed says that
// it did not bring what it should: it is not asked for a while.
func (p *Plan) Finish(id peer.ID, part *Part, items uint64, took time.Duration, failed bool, now time.Time) {
	part.drop(id)
	w := p.worker(id)
	if items > 0 {
		every := took / time.Duration(items)
		if w.every == 0 {
			w.every = every
		} else {
			w.every += (every - w.every) / 4
		}
	}
	if !failed {
		w.failures = 0
		return
	}
	w.failures = min(w.failures+1, 6)
	w.resume = now.Add(250 * time.Millisecond << w.failures)
}

func (part *Part) drop(id peer.ID) {
	for i, h := range part.fetchers {
		if h.peer == id {
			part.fetchers = append(part.fetchers[:i:i], part.fetchers[i+1:]...)
			return
		}
	}
}

// Remove forgets a peer that is gone, or lied.
func (p *Plan) Remove(id peer.ID) {
	delete(p.workers, id)
	for _, part := range p.parts {
		part.drop(id)
	}
}

// Ready tells whether the next item to be handed over is there, and in which part.
func (p *Plan) Ready() (*Part, bool) {
	if len(p.parts) == 0 || p.parts[0].got <= p.next {
		return nil, false
	}
	return p.parts[0], true
}

// HandOver books that the next item has been handed over.
func (p *Plan) HandOver() {
	p.next++
	if p.next == p.parts[0].to {
		p.parts[0] = nil
		p.parts = p.parts[1:]
	}
}

// Rewind takes back what has come of the first part from the next item on, up to
// the item returned: it was no good.
func (p *Plan) Rewind() (to uint64) {
	if len(p.parts) == 0 {
		return p.next
	}
	part := p.parts[0]
	to = part.got
	part.got = p.next
	part.fetchers = nil // what they still bring starts too late
	return to
}

// Items is how many items a peer has brought.
func (p *Plan) Items(id peer.ID) uint64 { return p.worker(id).items }
