package dispatcher

// splitKeyed makes a subscription with the policy NewestPerKey. The key
// function is code of the user's, so it does not run in the loop: the
// subscription itself becomes an intake, whose worker asks for the key of each
// message and passes both on to s.keyed, which has the bounds, the filter's mark
// and the rest. The filter is asked there and not by the loop: a message whose
// copy still is in the intake, to be replaced there, would be lost.
func (s *subscription) splitKeyed(key func(Message) string) {
	k := &subscription{
		name: s.name, topic: s.topic, policy: s.policy, filters: s.filters, mark: s.mark,
		maxLen: s.maxLen, maxBytes: s.maxBytes, takers: 1, chunk: 1,
		closed: true, byKey: make(map[string]uint64), keyAt: make(map[uint64]string),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.keyed, s.filters, s.mark = k, false, new(mark)
	s.maxLen, s.maxBytes = max(s.maxLen, DefaultQueue), max(s.maxBytes, DefaultQueueBytes)
	s.chunk = 64
	s.consume = func(batch *[]item) {
		s.each(batch, func(it *item) {
			if !k.putKeyed(it, key(it.msg)) {
				s.unclaim(1) // both were cut
			}
		})
	}
}

// last is where what is behind the queue takes from.
func (s *subscription) last() *subscription {
	if s.keyed != nil {
		return s.keyed
	}
	return s
}

// putKeyed puts a message into the place of the one with the same key, or
// behind all.
func (s *subscription) putKeyed(it *item, key string) bool {
	if s.filters {
		s.topic.filter.mu.Lock()
		defer s.topic.filter.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.counts.offered++
	if s.mark.bit != 0 && s.topic.filter.tables[s.mark.table].add(it.key, s.mark.bit) == 0 {
		s.counts.duplicate++
		return true
	}
	if pos, ok := s.byKey[key]; ok {
		p := s.queue.at(int(pos - s.queue.first))
		s.queue.bytes += it.size - p.size
		s.lostLocked(p, iReplaced)
		*p = *it
		return true
	}
	for !s.fitsLocked(it.size) {
		var old item
		s.popLocked(&old)
		s.lostLocked(&old, iOldest)
	}
	pos := s.queue.first + uint64(s.queue.n)
	s.byKey[key], s.keyAt[pos] = pos, key
	s.queue.push(it)
	if s.queue.n == 1 {
		s.signal()
	}
	return true
}
