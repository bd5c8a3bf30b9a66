package dispatcher

import "reflect"

// shares tells who holds how much of a queue that has become full, so that the
// sender that holds the most of it pays for the next message, and one sender's
// flood does not take the share of others. While a queue has space it has no
// shares: counting then would cost a look into a map for each message.
type shares struct {
	perMessage int            // what a message costs besides its bytes
	queued     map[string]int // by sender: bytes, and perMessage for each
	top        string         // the sender that was found to hold the most
	seed       uint64         // moves on with each look for it
}

// newShares counts what is in a full queue. The cost of a message is such that
// the bounds in messages and in bytes weigh the same.
func newShares(r *ring, maxLen, maxBytes int) *shares {
	s := &shares{perMessage: max(maxBytes/maxLen, 1), queued: make(map[string]int)}
	for i := range r.n {
		s.add(r.at(i))
	}
	return s
}

func (s *shares) cost(it *item) int { return it.size + s.perMessage }

func (s *shares) add(it *item) {
	queued := s.queued[it.head.from] + s.cost(it)
	s.queued[it.head.from] = queued
	if queued > s.queued[s.top] {
		s.top = it.head.from
	}
}

func (s *shares) remove(it *item) {
	if queued := s.queued[it.head.from] - s.cost(it); queued > 0 {
		s.queued[it.head.from] = queued
	} else {
		delete(s.queued, it.head.from)
	}
}

// samples is how many messages of the queue heaviest looks at.
const samples = 8

// heaviest is the sender that holds the most. It compares the one that did so
// last with the senders of some messages: one that holds half of the queue is
// overlooked once in 256 times. Looking at all senders would let a peer that
// invents names make every message cost thousands of comparisons.
func (s *shares) heaviest(r *ring) string {
	most := s.queued[s.top]
	for range samples {
		s.seed += 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: visits all places evenly
		from := r.at(int(s.seed >> 32 % uint64(r.n))).head.from
		if queued := s.queued[from]; queued > most {
			s.top, most = from, queued
		}
	}
	return s.top
}

// payer is the index of the message that is dropped to make space for another,
// or -1 when that one is. One sender alone pays for itself.
func (s *shares) payer(p Policy, r *ring, it *item) int {
	from := it.head.from
	mine := s.queued[from]
	alone := mine > 0 && len(s.queued) == 1
	if p.evicts() {
		if alone {
			return 0
		}
		if top := s.heaviest(r); mine < s.queued[top] {
			from = top
		}
		return oldest(r, from)
	}
	if alone {
		return -1
	}
	// Not beyond what the other is left with: two that hold the same must not
	// drop each other's messages in turns.
	top := s.heaviest(r)
	if mine+s.cost(it) >= s.queued[top] {
		return -1
	}
	return newest(r, top)
}

// newest and oldest are the index of a sender's message, or -1.
func newest(r *ring, from string) int {
	for i := r.n - 1; i >= 0; i-- {
		if r.at(i).head.from == from {
			return i
		}
	}
	return -1
}

func oldest(r *ring, from string) int {
	for i := range r.n {
		if r.at(i).head.from == from {
			return i
		}
	}
	return -1
}

// fairness shares a subscriber's channel fairly among senders once the channel
// has been found full. What is in a channel cannot be taken out again but for
// the oldest, so a place has to be kept free for those who come later: a sender
// that has taken more than an equal share of late does not get the last places.
type fairness struct {
	reserve int            // places that are kept
	taken   map[string]int // messages taken, by sender; halved now and then
	sum     int            // of taken
	seen    int            // messages since it was halved
	most    int            // messages after which it is halved
}

func newFairness(size int) *fairness {
	return &fairness{reserve: max(size/4, 1), taken: make(map[string]int), most: max(4*size, 64)}
}

// admits tells whether a sender's message may be taken while so many places are
// free. One sender alone gets all of them.
func (c *fairness) admits(from string, free int) bool {
	if c.seen++; c.seen > c.most {
		c.halve()
	}
	mine := c.taken[from]
	if mine == 0 {
		c.taken[from] = 0 // it is there, and has a share
	}
	return free > c.reserve || mine*len(c.taken) <= c.sum
}

func (c *fairness) took(from string) {
	c.taken[from]++
	c.sum++
}

func (c *fairness) halve() {
	c.seen, c.sum = 0, 0
	for from, n := range c.taken {
		if n /= 2; n == 0 {
			delete(c.taken, from)
		} else {
			c.taken[from] = n
			c.sum += n
		}
	}
}

// sendLocked puts a message into the channel if there is space, or, with
// DropOldest, makes space. It panics when the owner has closed the channel.
func (s *subscription) sendLocked(it *item) bool {
	if s.fair != nil {
		return s.sendFairLocked(it)
	}
	select {
	case s.ch <- it.msg:
		s.sentLocked(it)
		return true
	default:
	}
	if s.policy == Lossless {
		return false
	}
	if cap(s.ch) > 0 {
		s.fair = newFairness(cap(s.ch))
		return s.sendFairLocked(it)
	}
	return false
}

func (s *subscription) sendFairLocked(it *item) bool {
	free := cap(s.ch) - len(s.ch)
	if 2*free >= cap(s.ch) && free > 0 {
		s.fair = nil
		return s.sendLocked(it)
	}
	if !s.fair.admits(it.head.from, free) {
		return false
	}
	// Another goroutine may send on the channel too and be faster, so it tries
	// a few times only.
	for range 8 {
		select {
		case s.ch <- it.msg:
			s.fair.took(it.head.from)
			s.sentLocked(it)
			return true
		default:
		}
		if s.policy != DropOldest {
			return false
		}
		select {
		case old := <-s.ch:
			s.evictedLocked(old)
		default:
		}
	}
	return false
}

// sentLocked remembers what is in the channel, as far as it may have to be
// forgotten by the filter.
func (s *subscription) sentLocked(it *item) {
	if !s.filters || s.policy != DropOldest {
		return
	}
	if s.sent.n == cap(s.ch) {
		var read item
		s.sent.pop(&read)
	}
	s.sent.push(it)
}

// evictedLocked accounts for a message that was taken out of the channel again.
// Those before it have been read.
func (s *subscription) evictedLocked(old Message) {
	s.out--
	var it item
	for s.sent.n > 0 && !same(it.msg, old) {
		s.sent.pop(&it)
	}
	if !same(it.msg, old) {
		it = item{} // not one of ours
	}
	s.lostLocked(&it, iOldest)
}

// same tells whether two messages are one. Values that cannot be compared are
// taken for the same by their type: their place in the channel tells the rest.
func same(a, b Message) bool {
	if a == nil || reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	return !reflect.ValueOf(a).Comparable() || !reflect.ValueOf(b).Comparable() || a == b
}
