package dispatcher

import "sync"

// queue is a bounded ring of messages between the loop, which offers, and the
// subscriber's side, which takes. It carries out the policies.
type queue struct {
	policy   Policy
	key      func(Message) string
	maxLen   int
	maxBytes int
	takers   int           // how many may take at the same time
	wake     chan struct{} // capacity 1: something to take, or closed

	mu       sync.Mutex // guards what follows
	ring     []queued   // length is a power of two
	first    uint64     // position of the oldest; its place is first & (len-1)
	n        int
	bytes    int
	byKey    map[string]uint64 // NewestPerKey: position of the waiting message
	room     func()            // Lossless: to be called when there is room again
	starved  bool              // an offer found no room since room was called last
	closed   bool              // takes no more
	in       uint64            // messages taken
	inAtTick uint64            // in, when shrink looked last
	drops    dropCounts
	evicted  []Message // dropped for newer ones since the loop looked last, if it does
	report   bool      // the loop looks at evicted
}

type queued struct {
	msg  Message
	key  string
	size int
}

func newQueue(o *subOptions, room func()) *queue {
	q := &queue{policy: o.policy, key: o.key, maxLen: o.queue, maxBytes: o.queueBytes, takers: o.workers,
		room: room, wake: make(chan struct{}, 1), report: o.filter && o.policy.evicts()}
	if o.policy == NewestPerKey {
		q.byKey = make(map[string]uint64)
	}
	return q
}

// offer takes as many messages from the front as the policy allows and counts
// them in *n. It runs the key function, without a lock.
func (q *queue) offer(msgs []Message, sizes []uint32, n *int) {
	if q.policy == NewestPerKey {
		for i, m := range msgs {
			if !q.offerKeyed(m, q.key(m), int(sizes[i])) {
				return
			}
			*n++
		}
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	*n += q.offerLocked(msgs, sizes)
}

func (q *queue) offerLocked(msgs []Message, sizes []uint32) (n int) {
	if q.closed {
		return 0
	}
	before := q.n
	for n < len(msgs) {
		size := int(sizes[n])
		if !q.fitsLocked(size) {
			if q.policy != DropOldest {
				q.starved = q.policy == Lossless
				break
			}
			q.makeRoomLocked(size)
		}
		q.pushLocked(queued{msg: msgs[n], size: size})
		n++
	}
	if before == 0 && q.n > 0 {
		q.signal()
	}
	return n
}

func (q *queue) offerKeyed(m Message, key string, size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if pos, ok := q.byKey[key]; ok {
		old := &q.ring[pos&uint64(len(q.ring)-1)]
		q.bytes += size - old.size
		q.in++
		q.drops[iReplaced]++
		if q.report {
			q.evicted = append(q.evicted, old.msg)
		}
		*old = queued{msg: m, key: key, size: size}
		return true
	}
	if !q.fitsLocked(size) {
		q.makeRoomLocked(size)
	}
	q.byKey[key] = q.first + uint64(q.n)
	q.pushLocked(queued{msg: m, key: key, size: size})
	if q.n == 1 {
		q.signal()
	}
	return true
}

func (q *queue) fitsLocked(size int) bool {
	return q.n == 0 || q.n < q.maxLen && q.bytes+size <= q.maxBytes
}

func (q *queue) makeRoomLocked(size int) {
	for !q.fitsLocked(size) {
		old := q.popLocked()
		q.drops[iOldest]++
		if q.report {
			q.evicted = append(q.evicted, old.msg)
		}
	}
}

func (q *queue) pushLocked(it queued) {
	if q.n == len(q.ring) {
		q.growLocked()
	}
	q.ring[(q.first+uint64(q.n))&uint64(len(q.ring)-1)] = it
	q.n++
	q.in++
	q.bytes += it.size
}

func (q *queue) popLocked() queued {
	at := &q.ring[q.first&uint64(len(q.ring)-1)]
	it := *at
	*at = queued{}
	q.first++
	q.n--
	q.bytes -= it.size
	if q.byKey != nil {
		delete(q.byKey, it.key)
	}
	return it
}

func (q *queue) growLocked() {
	ring := make([]queued, max(16, 2*len(q.ring)))
	for i := range uint64(q.n) {
		ring[(q.first+i)&uint64(len(ring)-1)] = q.ring[(q.first+i)&uint64(len(q.ring)-1)]
	}
	q.ring = ring
}

// take moves up to len(buf) messages to buf and returns how many, and whether
// the queue is closed.
func (q *queue) take(buf []Message) (n int, closed bool) {
	q.mu.Lock()
	n = min(len(buf), q.n)
	for i := range n {
		buf[i] = q.popLocked().msg
	}
	if q.closed || q.n > 0 && q.takers > 1 {
		q.signal() // another one may have something to do, or to end
	}
	var room func()
	if q.starved && 2*q.n <= q.maxLen && 2*q.bytes <= q.maxBytes {
		q.starved, room = false, q.room
	}
	closed = q.closed
	q.mu.Unlock()
	if room != nil {
		room()
	}
	return n, closed
}

// takeEvicted returns what was dropped for newer ones since the last call. The
// result is valid until the next offer.
func (q *queue) takeEvicted() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	ev := q.evicted
	q.evicted = q.evicted[:0]
	return ev
}

// close makes the queue take no more and wakes those who wait for it.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// discardLocked closes the queue and empties it.
func (q *queue) discardLocked() {
	q.closed = true
	for q.n > 0 {
		q.popLocked()
	}
	q.signal()
}

// lose counts a message that was taken from the queue and then lost.
func (q *queue) lose(reason dropIndex) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drops[reason]++
}

// shrink gives up the ring of a past burst.
func (q *queue) shrink() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 && q.in == q.inAtTick && len(q.ring) > shrinkAbove {
		q.ring = nil
	}
	q.inAtTick = q.in
}

// spent tells whether nothing waits and nothing will.
func (q *queue) spent() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && q.n == 0
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
