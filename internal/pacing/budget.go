package pacing

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Budget is what one connection may have on its way, and the order in which its
// writers get it. It is safe for concurrent use.
type Budget struct {
	start time.Time
	life  atomic.Int64                      // nanoseconds since start
	line  interface{ LastRead() time.Time } // of the transport; nil where it does not tell

	mu      sync.Mutex // guards the fields below; never held during a write
	fair    Fair
	chunks  chunker
	waiting [Classes][]*Flow // first come first served
	writing []*Flow
	window  window
	spread  spread
	transit transit
	answers *answers // nil while nobody answers marks
	timer   *time.Timer
	closed  bool // everybody may write
}

// answers is who makes pings of marks.
type answers struct{ ping func(nonce uint64) }

// NewBudget makes a budget that no host's Budgets knows of.
func NewBudget() *Budget { return &Budget{start: time.Now()} }

func (b *Budget) now() time.Duration { return time.Since(b.start) }

// Attach begins to bound what is on the way: ping is called to send a ping with a
// nonce to the peer, and must not block; Marked is told of the answer. detach ends
// it, unless somebody else has attached meanwhile.
func (b *Budget) Attach(ping func(nonce uint64)) (detach func()) {
	a := &answers{ping}
	b.mu.Lock()
	b.answers = a
	b.transit.forget(b.now())
	b.window.round = 0
	b.mu.Unlock()
	return func() {
		b.mu.Lock()
		if b.answers == a {
			b.answers = nil
			b.transit.forget(b.now())
		}
		b.grantLocked(b.now())
		b.mu.Unlock()
	}
}

// Mark returns the nonce of a ping that the caller is about to send by itself.
func (b *Budget) Mark() (nonce uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.transit.make(b.now())
}

// Pings is how many marks have been made.
func (b *Budget) Pings() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.transit.nonce
}

// Marked takes the answer to a ping. It returns how long that took; ok is false
// when no such ping is out.
func (b *Budget) Marked(nonce uint64) (took time.Duration, ok bool) {
	now := b.now()
	b.life.Store(int64(now))
	b.mu.Lock()
	m, ok := b.transit.came(nonce)
	if !ok {
		b.mu.Unlock()
		return 0, false
	}
	took = now - m.at
	for _, f := range b.writing {
		if f.began < m.at && !f.receiverBound {
			// It waits for its own receiver; see the package's documentation.
			f.receiverBound = true
			b.transit.reserve(f.class, -f.size)
		}
	}
	b.window.arrived(now, took, m.written[all], m.inFlight, b.transit.written[all])
	b.grantLocked(now)
	ping := b.pingLocked(now)
	b.mu.Unlock()
	ping()
	return took, true
}

func (b *Budget) quietRTT() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.window.quietRTT(b.now())
}

// Heard notes a sign of life: bytes that came from the peer.
func (b *Budget) Heard() { b.life.Store(int64(b.now())) }

// LastLife is when the peer last gave a sign of life; the zero time before the
// first. Where the transport tells (internal/p2phost), that is any byte, else one
// that somebody has told of.
func (b *Budget) LastLife() (last time.Time) {
	if at := b.life.Load(); at != 0 {
		last = b.start.Add(time.Duration(at))
	}
	if b.line != nil {
		if at := b.line.LastRead(); at.After(last) {
			last = at
		}
	}
	return last
}

// Overdue tells whether a mark has been out for so long that what was on the way
// before it moved at less than LowestRate, grace apart.
func (b *Budget) Overdue(grace time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answers != nil && b.transit.overdue(b.now(), grace)
}

// close lets everybody write, and find out that the connection has ended.
func (b *Budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.grantLocked(b.now())
	if b.timer != nil {
		b.timer.Stop()
	}
}

// begin lets a flow write up to n bytes at once, or has it wait: then its wake
// channel tells.
func (b *Budget) begin(f *Flow, class Class, n int) (size int, ok bool) {
	now := b.now()
	b.mu.Lock()
	f.enterLocked(class)
	f.want = n
	if len(b.waiting[class]) == 0 {
		if size := b.fitsLocked(f, now); size > 0 && (b.fair.May(class) || b.expressLocked(f, size)) {
			b.startLocked(f, size, now)
			b.mu.Unlock()
			return size, true
		}
	}
	if f.wake == nil {
		f.wake = make(chan struct{}, 1)
	}
	b.waiting[class] = append(b.waiting[class], f)
	b.grantLocked(now)
	ping := b.pingLocked(now)
	b.mu.Unlock()
	ping()
	return 0, false
}

// end ends a write, of which n bytes went out.
func (b *Budget) end(f *Flow, n int) {
	now := b.now()
	if n > 0 && now-f.began >= congested {
		b.life.Store(int64(now))
	}
	b.mu.Lock()
	b.chunks.add(n, f.began, now)
	i := slices.Index(b.writing, f)
	last := len(b.writing) - 1
	b.writing[i], b.writing[last] = b.writing[last], nil
	b.writing = b.writing[:last]
	if f.stalled {
		b.fair.Enter(f.class)
		f.stalled = false
	}
	if !f.receiverBound {
		b.transit.reserve(f.class, -f.size)
	}
	f.receiverBound, f.size = false, 0
	b.transit.wrote(f.class, n)
	b.grantLocked(now)
	ping := b.pingLocked(now)
	b.mu.Unlock()
	ping()
}

// congested is how long a write must have waited for the transport to prove, by
// going on, that the other end takes data: a full send buffer drains only when
// the peer's host acknowledges.
const congested = 50 * time.Millisecond

func (b *Budget) leave(f *Flow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f.leaveLocked()
	b.grantLocked(b.now())
}

// abandon takes a flow out of the queue. It is false when the flow may write by
// now.
func (b *Budget) abandon(f *Flow) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &b.waiting[f.class]
	i := slices.Index(*q, f)
	if i < 0 {
		return false
	}
	*q = slices.Delete(*q, i, i+1)
	f.leaveLocked()
	b.grantLocked(b.now())
	return true
}

// grantLocked lets go whoever may write now.
func (b *Budget) grantLocked(now time.Duration) {
	for {
		f, size := b.nextLocked(now)
		if f == nil {
			b.armLocked(now)
			return
		}
		q := &b.waiting[f.class]
		*q = slices.Delete(*q, 0, 1)
		b.startLocked(f, size, now)
		f.wake <- struct{}{} // has room: a flow waits once at a time
	}
}

// nextLocked is who may write next, and how much; nil when nobody may.
func (b *Budget) nextLocked(now time.Duration) (*Flow, int) {
	if q := b.waiting[High]; len(q) > 0 {
		if size := b.fitsLocked(q[0], now); size > 0 && b.expressLocked(q[0], size) {
			return q[0], size
		}
	}
	for class, q := range b.waiting {
		if len(q) == 0 {
			continue
		}
		f := q[0]
		size := b.fitsLocked(f, now)
		if size == 0 {
			b.window.wait(now, f.class)
			continue
		}
		if !b.closed && !b.fair.May(Class(class)) {
			b.stallLocked(now)
		}
		if b.closed || b.fair.May(Class(class)) {
			return f, size
		}
	}
	return nil, 0
}

// fitsLocked is how much a flow may write now, 0 when nothing.
func (b *Budget) fitsLocked(f *Flow, now time.Duration) int {
	size := min(f.want, b.chunks.size())
	if b.answers == nil || b.closed {
		return size
	}
	window, least := b.window.size(), minChunk
	if b.window.near(now) {
		least = nearChunk
		size = min(f.want, max(size, least))
	}
	// Several chunks on the way, so that it does not run empty.
	size = whole(min(size, max(int(b.window.piece(now)), least)), f.want)
	extra := min(b.transit.inFlight(high), express)
	room := window - b.transit.inFlight(all) + extra
	// Half of it must have room: on average as much is on the way as the window says. With
	// all of it, up to one write in four is always missing.
	if b.expressLocked(f, size) || int64(size) <= 2*room && b.spread.wait(now, &b.window) == 0 {
		return size
	}
	return 0
}

// expressLocked tells whether a write may pass the others: one of class High while
// little of it is on the way.
func (b *Budget) expressLocked(f *Flow, size int) bool {
	return f.class == High && b.answers != nil && b.transit.inFlight(high)+int64(size) <= express
}

// stallLocked no longer waits for writers that have been in their write for too
// long.
func (b *Budget) stallLocked(now time.Duration) {
	limit := b.chunks.stallAfter(len(b.writing))
	for _, o := range b.writing {
		if !o.stalled && now-o.began >= limit {
			o.stalled = true
			b.fair.Leave(o.class)
		}
	}
}

func (b *Budget) startLocked(f *Flow, size int, now time.Duration) {
	f.size, f.began = size, now
	b.writing = append(b.writing, f)
	b.fair.Charge(f.class, size)
	b.transit.reserve(f.class, size)
	b.spread.spend(size)
}

// pingLocked makes a mark when one is due. The result is to be called without the
// lock.
func (b *Budget) pingLocked(now time.Duration) func() {
	if b.answers == nil || !b.transit.due(now, b.window.piece(now), b.blockedLocked()) {
		return func() {}
	}
	nonce, ping := b.transit.make(now), b.answers.ping
	return func() { ping(nonce) }
}

// blockedLocked tells whether somebody waits.
func (b *Budget) blockedLocked() bool {
	for _, q := range b.waiting {
		if len(q) > 0 {
			return true
		}
	}
	return false
}

// armLocked has the waiting ones looked at again when only time can help them:
// a write under way takes long, or a mark could not be made.
func (b *Budget) armLocked(now time.Duration) {
	if !b.blockedLocked() || b.closed {
		return
	}
	wait := markAgain
	limit := b.chunks.stallAfter(len(b.writing))
	for _, o := range b.writing {
		if !o.stalled {
			wait = min(wait, max(limit-(now-o.began), time.Millisecond))
		}
	}
	if b.answers != nil {
		if len(b.transit.marks) == 0 {
			wait = min(wait, time.Second/markRate)
		}
		if left := b.spread.wait(now, &b.window); left > 0 {
			wait = min(wait, max(left, time.Millisecond))
		}
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, b.look)
		return
	}
	b.timer.Reset(wait)
}

// look is the timer's.
func (b *Budget) look() {
	now := b.now()
	b.mu.Lock()
	b.grantLocked(now)
	ping := b.pingLocked(now)
	b.mu.Unlock()
	ping()
}

// Flow is one stream's use of a budget. It is not safe for concurrent use.
type Flow struct {
	b    *Budget
	wake chan struct{} // nil until it has to wait

	// Guarded by the budget's lock.
	class         Class
	entered       bool
	want          int
	size          int           // of the write under way
	began         time.Duration // when it began
	stalled       bool          // it takes so long that nobody waits for it
	receiverBound bool          // it waits for its own receiver: nothing of it is on the way
}

// NewFlow makes a flow.
func NewFlow(b *Budget) *Flow { return &Flow{b: b} }

// Begin waits until some of n bytes, at least one, may be written, and returns how
// many. Each Begin without an error is followed by End. The error is the cause of
// ctx; the flow then has left.
func (f *Flow) Begin(ctx context.Context, class Class, n int) (int, error) {
	size, ok := f.b.begin(f, class, n)
	if ok {
		return size, nil
	}
	select {
	case <-f.wake: // grantLocked
		return f.size, nil
	case <-ctx.Done():
		f.cancel()
		return 0, context.Cause(ctx)
	}
}

// cancel ends the wait, whether or not it has ended meanwhile.
func (f *Flow) cancel() {
	if !f.b.abandon(f) {
		<-f.wake
		f.End(0)
		f.Leave()
	}
}

// End tells that the write has ended and n bytes of it went out.
func (f *Flow) End(n int) { f.b.end(f, n) }

// Leave tells that there is nothing more to write for now. Between End and Leave
// lower classes wait for the flow's next write.
func (f *Flow) Leave() { f.b.leave(f) }

func (f *Flow) enterLocked(class Class) {
	if f.entered && f.class == class {
		return
	}
	f.leaveLocked()
	f.b.fair.Enter(class)
	f.class, f.entered = class, true
}

func (f *Flow) leaveLocked() {
	if f.entered {
		f.b.fair.Leave(f.class)
		f.entered = false
	}
}
