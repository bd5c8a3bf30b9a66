package dispatcher

import "reflect"

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
