package dispatcher

import (
	"sync"
	"sync/atomic"

	"github.com/go-nebnet/nebnet/internal/obs"
)

// subscription is one registered subscriber: its bounded queue or its channel,
// with its policy. The loop offers it messages; what is behind the queue takes
// them out: goroutines of its own (see worker.go), or a loop over All.
type subscription struct {
	id        any
	name      string     // ID/type, for logs and errors
	label     string     // for Stats
	labels    obs.Labels // of its workers
	topic     *topic
	policy    Policy
	weight    MessageWeight
	filters   bool
	maxLen    int // bounds of the queue
	maxBytes  int
	ch        chan Message  // of a channel-backed one
	direct    bool          // the loop may put messages into ch
	closeCh   bool          // ch is to be closed in the end
	takers    int           // how many may take at the same time
	chunk     int           // how many messages a worker takes at once
	consume   func(*[]item) // what a worker does; nil without workers
	ownCode   bool          // consume runs no code of the user's
	keyed     *subscription // NewestPerKey: where the messages go with their keys
	onRelease func()        // when it is not registered after all; may be nil
	begun     bool          // the topic's owner knows of it

	mark *mark // guarded by the filter; zero without one, and when it has left

	credit // of a lossless one

	// handled counts messages that were handed over, or are in the hands of
	// the user's code. With cutBit, no more are.
	handled atomic.Uint64
	wake    chan struct{} // capacity 1: something to take, or closed
	stop    chan struct{} // closed by cut
	done    chan struct{} // closed when nothing waits and no worker runs

	mu       sync.Mutex // guards what follows
	queue    ring
	shares   *shares           // nil while the queue has space
	fair     *fairness         // nil while the channel has space
	sent     ring              // what may be in ch, to know its keys when it is evicted
	byKey    map[string]uint64 // position in the queue of a key's message, where there are keys
	keyAt    map[uint64]string // and the other way round
	busy     bool              // the worker of a channel has taken messages and not come back
	closed   bool              // takes no messages: not yet, or no more
	reason   dropIndex         // of what was not handed over when it was cut
	finished bool              // done is closed
	workers  int               // that run
	out      uint64            // taken from the queue, or sent directly, and not lost since
	unmarked bool              // the offer under way has taken a mark back
	counts   subCounts
	waiting  waiting
	atTick   uint64 // counts.offered at the last tick
}

// subCounts: offered = duplicate + drops + waiting in the queue + out.
type subCounts struct {
	offered, duplicate, panics uint64
	drops                      dropCounts
}

const cutBit = 1 << 63

// init sets what an option may have set.
func (s *subscription) init(o *subOptions) {
	s.policy, s.closeCh = o.policy, o.closeChan
	s.maxLen, s.maxBytes = o.queue, o.queueBytes
	s.takers, s.chunk = 1, 1
	if o.name != "" {
		s.label = o.name
	}
	s.wake, s.stop, s.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	s.closed = true
	if s.policy == NewestPerKey {
		s.splitKeyed(o.key)
	}
}

// open lets a subscription take messages.
func (s *subscription) open() {
	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
	if s.keyed != nil {
		s.keyed.open()
	}
}

// offer offers the messages of a block in order. The filter is locked when the
// subscription filters. Only the loop calls it. It never blocks.
func (s *subscription) offer(b *block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.unmarked = false
	was := s.queue.n
	for i := 0; i < len(b.items); {
		i = s.offerFromLocked(b, i)
	}
	if !b.sample.IsZero() {
		s.sampleLocked(b.sample)
	}
	if was == 0 && s.queue.n > 0 {
		s.signal()
	}
}

// offerFromLocked offers messages from an index on and returns where to go on.
// It ends early when the owner of the channel has closed it against the rules,
// which counts as a panic for each message.
func (s *subscription) offerFromLocked(b *block, i int) (next int) {
	before, freed, freedBytes := s.out, 0, 0
	defer func() {
		s.handled.Add(s.out - before)
		s.free(freed, freedBytes)
		if s.ch == nil {
			return
		}
		if p := recover(); p != nil {
			s.counts.panics++
			s.refuseLocked(b, i, fPanic, iPanic)
			b.panics = append(b.panics, panicked{s.name, p})
			next = i + 1
		}
	}()
	// The common case of a channel, with space and without a filter, has a loop of
	// its own: the other one takes half as long again.
	for s.direct && s.mark.bit == 0 && s.queue.n == 0 && !s.busy && s.fair == nil && i < len(b.items) {
		s.counts.offered++
		select {
		case s.ch <- b.items[i].msg:
			s.out++
			b.flags[i] |= fTaken
			freed, freedBytes = freed+1, freedBytes+b.items[i].size
			i++
			continue
		default:
		}
		s.counts.offered-- // the other loop tries again
		break
	}
	for ; i < len(b.items); i++ {
		it := &b.items[i]
		s.counts.offered++
		if s.mark.bit != 0 && !s.fresh(b, i) {
			s.counts.duplicate++
			b.flags[i] |= fDuplicate
			freed, freedBytes = freed+1, freedBytes+it.size
			continue
		}
		sent := s.out
		if !s.takeLocked(it) {
			s.refuseLocked(b, i, fFull, iSubscriberFull)
			continue
		}
		b.flags[i] |= fTaken
		if s.out != sent {
			freed, freedBytes = freed+1, freedBytes+it.size
		}
	}
	return i
}

// fresh tells whether the subscription has not taken a message before. The
// marks of a block are set before it is offered; when one was taken back since,
// a copy of that message may be in the same block.
func (s *subscription) fresh(b *block, i int) bool {
	return b.fresh[i]&s.mark.bit != 0 ||
		s.unmarked && s.topic.filter.tables[s.mark.table].add(b.items[i].key, s.mark.bit) != 0
}

// refuseLocked accounts for a message that was not taken.
func (s *subscription) refuseLocked(b *block, i int, f flags, reason dropIndex) {
	b.flags[i] |= f
	s.lostLocked(&b.items[i], reason)
}

// takeLocked takes a message if the policy allows. The filter is locked when
// the subscription filters.
func (s *subscription) takeLocked(it *item) bool {
	if s.direct && s.queue.n == 0 && !s.busy {
		if s.sendLocked(it) {
			s.out++
			return true
		}
		if s.policy != Lossless {
			return false
		}
	}
	// A lossless one has promised the place when the message was admitted.
	if s.policy != Lossless && !s.fitsLocked(it.size) && !s.makeSpaceLocked(it) {
		return false
	}
	s.queue.push(it)
	if s.shares != nil {
		s.shares.add(it)
	}
	return true
}

func (s *subscription) fitsLocked(size int) bool {
	return s.queue.n == 0 || s.queue.n < s.maxLen && s.queue.bytes+size <= s.maxBytes
}

// makeSpaceLocked drops what waits until a message fits, or tells that the
// message itself has to be dropped.
func (s *subscription) makeSpaceLocked(it *item) bool {
	if s.shares == nil {
		s.shares = newShares(&s.queue, s.maxLen, s.maxBytes)
	}
	for !s.fitsLocked(it.size) {
		i, reason := s.shares.payer(s.policy, &s.queue, it), iSubscriberFull
		if i < 0 {
			return false
		}
		if s.policy.evicts() {
			reason = iOldest
		}
		gone := s.queue.remove(i)
		s.shares.remove(&gone)
		s.lostLocked(&gone, reason)
	}
	return true
}

// lostLocked accounts for a message that is not taken, or is dropped again, and
// makes the filter forget it.
func (s *subscription) lostLocked(it *item, reason dropIndex) {
	s.counts.drops[reason]++
	if s.mark.bit != 0 {
		s.topic.filter.tables[s.mark.table].remove(it.key, s.mark.bit)
		s.unmarked = true
	}
}

// take moves up to len(buf) messages to buf, claims them if told to, and returns
// how many, and whether the subscription is closed.
func (s *subscription) take(buf []item, claim bool) (n int, closed bool) {
	s.mu.Lock()
	bytes := s.queue.bytes
	n = min(len(buf), s.queue.n)
	for i := range n {
		s.popLocked(&buf[i])
	}
	s.out += uint64(n)
	if claim {
		s.claim(n)
	}
	bytes -= s.queue.bytes
	s.busy = n > 0
	if s.closed || s.queue.n > 0 && s.takers > 1 {
		s.signal() // another one may have something to do, or to end
	}
	if s.shares != nil && 2*s.queue.n <= s.maxLen && 2*s.queue.bytes <= s.maxBytes {
		s.shares = nil
	}
	if n > 0 && !s.waiting.at.IsZero() {
		s.waitedLocked()
	}
	closed = s.closed
	if closed && s.consume == nil {
		s.finishLocked()
	}
	s.mu.Unlock()
	if s.free(n, bytes) {
		s.topic.grant()
	}
	return n, closed
}

func (s *subscription) popLocked(it *item) {
	if s.byKey != nil {
		delete(s.byKey, s.keyAt[s.queue.first])
		delete(s.keyAt, s.queue.first)
	}
	s.queue.pop(it)
	if s.shares != nil {
		s.shares.remove(it)
	}
}

func (s *subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// claim counts messages as handed over, and reports whether they may be: not
// any more when the subscription was cut, and then they count as dropped.
func (s *subscription) claim(n int) bool { return s.handled.Add(uint64(n))&cutBit == 0 }

func (s *subscription) isCut() bool { return s.handled.Load()&cutBit != 0 }

// revoke takes claims back, of messages that are lost for the reason.
func (s *subscription) revoke(reason dropIndex, items ...item) {
	if s.filters {
		s.topic.filter.mu.Lock()
		defer s.topic.filter.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out -= uint64(len(items))
	s.handled.Add(-uint64(len(items)))
	for i := range items {
		s.lostLocked(&items[i], reason)
	}
}

// unclaim takes claims back, of messages that will be handed over again, unless
// the subscription was cut meanwhile.
func (s *subscription) unclaim(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled.Add(-uint64(n))
	if s.isCut() {
		s.out -= uint64(n)
		s.counts.drops[s.reason] += uint64(n)
	}
}

// drain takes no more, and ends when all is handed over.
func (s *subscription) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.signal()
	s.finishLocked()
}

// cut ends the subscription: nothing more is handed over, what waits is dropped
// for the reason.
func (s *subscription) cut(reason dropIndex) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isCut() {
		return
	}
	s.closed, s.reason = true, reason
	// What a worker has taken and not claimed is lost.
	returned := s.out - s.handled.Or(cutBit)
	s.out -= returned
	s.counts.drops[reason] += returned + uint64(s.queue.n)
	s.queue, s.sent, s.shares, s.fair, s.byKey, s.keyAt = ring{}, ring{}, nil, nil, nil, nil
	close(s.stop)
	s.signal()
	s.finishLocked()
}

// cutAll cuts a subscription with what is behind it.
func (s *subscription) cutAll(reason dropIndex) {
	s.cut(reason)
	if s.keyed != nil {
		s.keyed.cut(reason)
	}
}

// finishLocked closes done, and the channel if that is wanted, when nothing is
// left to do.
func (s *subscription) finishLocked() {
	if !s.closed || s.queue.n > 0 || s.workers > 0 || s.finished {
		return
	}
	s.finished = true
	if s.closeCh {
		closeChannel(s.ch)
	}
	if s.keyed != nil {
		s.keyed.drain()
	}
	close(s.done)
}

// shrink gives up the memory of a past burst.
func (s *subscription) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue.n == 0 && s.counts.offered == s.atTick && len(s.queue.buf) > shrinkAbove {
		s.queue = ring{first: s.queue.first}
	}
	s.atTick = s.counts.offered
}
