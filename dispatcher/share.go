package dispatcher

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
	mine, alone := s.queued[from], false
	if len(s.queued) == 1 {
		alone = mine > 0
	}
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
