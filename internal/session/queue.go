package session

// largeBody is the size from which a frame does not share a block with others.
const largeBody = 16 << 10

// classes is the number of priorities; class 0 is the highest.
const classes = 3

// segment is what a writer takes from a queue in one go: a block of small
// frames, or one large frame.
type segment struct {
	block  *block
	chain  []*block // the rest of a large frame, copied
	tail   []byte   // the rest of a large frame, by reference
	size   int      // bytes in all of them
	count  int      // frames
	closed bool     // nothing is appended any more
}

// release gives the blocks back that are still there.
func (s *segment) release() {
	if s.block != nil {
		s.block.release()
		s.block = nil
	}
	for i, b := range s.chain {
		if b != nil {
			b.release()
			s.chain[i] = nil
		}
	}
}

// newLarge makes a segment of one large frame. The body is copied, unless it
// is shared. No lock is held meanwhile.
func newLarge(h header, body []byte, shared bool) (seg segment) {
	seg = segment{block: getBlock(true), size: h.size() + len(body), count: 1}
	seg.block.b, body = fill(appendHeader(seg.block.b, h), body)
	if shared {
		seg.tail = body
		return seg
	}
	seg.chain = make([]*block, 0, (len(body)+largeBlock-1)/largeBlock)
	for len(body) > 0 {
		b := getBlock(true)
		b.b, body = fill(b.b, body)
		seg.chain = append(seg.chain, b)
	}
	return seg
}

// fill appends as much of body as dst has room for.
func fill(dst, body []byte) (filled, rest []byte) {
	n := min(cap(dst)-len(dst), len(body))
	return append(dst, body[:n]...), body[n:]
}

// queue holds the frames of one type for one peer, in order within a class.
// It is not safe for concurrent use.
type queue struct {
	byClass *[classes]classQueue // nil until something is queued, and after shrink
	bytes   int                  // queued and not yet popped
	count   int
}

type classQueue struct {
	segs []segment
	head int
}

// class is the queue of one class.
func (q *queue) class(class int) *classQueue {
	if q.byClass == nil {
		q.byClass = new([classes]classQueue)
	}
	return &q.byClass[class]
}

// push appends a frame. hot tells that a writer is at work: the next block
// then is a large one, and behind a block that is full. Between large frames it
// is a small one, so that what is queued holds little more than it counts.
func (q *queue) push(class int, h header, body []byte, hot bool) {
	l := q.class(class)
	size := h.size() + len(body)
	seg := l.last(size)
	if seg == nil {
		large := hot
		if n := len(l.segs); l.head < n {
			large = !l.segs[n-1].closed
		}
		seg = l.add(segment{block: getBlock(large || size > smallBlock)})
	}
	seg.block.b = append(appendHeader(seg.block.b, h), body...)
	seg.size += size
	seg.count++
	q.bytes += size
	q.count++
}

// pushLarge appends a large frame.
func (q *queue) pushLarge(class int, seg segment) {
	q.class(class).add(seg).closed = true
	q.bytes += seg.size
	q.count++
}

// last is the segment at the end of the class when need bytes fit into it.
func (l *classQueue) last(need int) *segment {
	if l.head == len(l.segs) {
		return nil
	}
	s := &l.segs[len(l.segs)-1]
	if s.closed || cap(s.block.b)-len(s.block.b) < need {
		return nil
	}
	return s
}

func (l *classQueue) add(seg segment) *segment {
	if l.head > 0 && len(l.segs) == cap(l.segs) {
		n := copy(l.segs, l.segs[l.head:])
		clear(l.segs[n:])
		l.segs, l.head = l.segs[:n], 0
	}
	l.segs = append(l.segs, seg)
	return &l.segs[len(l.segs)-1]
}

// unpop puts what a stream did not take back in front.
func (q *queue) unpop(class int, seg segment) {
	l := q.class(class)
	if l.head == 0 {
		l.segs = append([]segment{{}}, l.segs...)
		l.head = 1
	}
	l.head--
	l.segs[l.head] = seg
	q.bytes += seg.size
	q.count += seg.count
}

// keepRest takes off a segment what can no longer be sent, now that a stream has
// taken n bytes of it and then failed: the frames that it took whole, and the one
// that it took a part of. It tells how many there are of the first sort. What is
// left was never given to a stream.
func (s *segment) keepRest(n int) (written int) {
	switch {
	case n == 0:
		return 0
	case s.chain != nil || s.tail != nil: // one large frame
		if n == s.size {
			written = 1
		}
		s.release()
		*s = segment{}
		return written
	}
	written, next := splitFrames(s.block.b, n)
	left := s.block.b[next:]
	s.count = countFrames(left)
	s.size = len(left)
	s.block.b = append(s.block.b[:0], left...)
	return written
}

// pop takes the first segment of the highest class that has one.
func (q *queue) pop(class int) (segment, bool) {
	if !q.has(class) {
		return segment{}, false
	}
	l := &q.byClass[class]
	s := l.segs[l.head]
	l.segs[l.head] = segment{}
	l.head++
	if l.head == len(l.segs) {
		l.head = 0
		if cap(l.segs) > 64 {
			l.segs = nil
		} else {
			l.segs = l.segs[:0]
		}
	}
	q.bytes -= s.size
	q.count -= s.count
	return s, true
}

// shrink gives up the memory of an empty queue.
func (q *queue) shrink() {
	if q.count == 0 {
		q.byClass = nil
	}
}

// has tells whether a class has something queued.
func (q *queue) has(class int) bool {
	return q.byClass != nil && q.byClass[class].head < len(q.byClass[class].segs)
}

// clear drops everything and gives the blocks back.
func (q *queue) clear() (count int) {
	count = q.count
	for c := range classes {
		for {
			s, ok := q.pop(c)
			if !ok {
				break
			}
			s.release()
		}
	}
	return count
}
