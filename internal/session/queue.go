package session

// directFrame is the size from which the rest of a frame's body is queued by
// reference instead of being copied into a block.
const directFrame = 16 << 10

// classes is the number of priorities.
const classes = 3

// class is the index of a priority: 0 is the highest.
func (p Priority) class() int { return int(p) - 1 }

// segment is what a writer takes from a queue in one go: a block of frames,
// and the rest of the last one's body when that is large.
type segment struct {
	block *block
	tail  []byte
	count int // messages that end in this segment
}

func (s segment) size() int { return len(s.block.b) + len(s.tail) }

// queue holds the frames of one type for one peer, in order within a class.
// It is not safe for concurrent use.
type queue struct {
	lanes [classes]lane
	bytes int // queued and not yet popped
	count int
}

type lane struct {
	segs []segment
	head int
}

// push appends a frame. A body of directFrame bytes or more is kept by
// reference in part and must not change any more. hot tells that a writer is
// at work: the next block then is a large one.
func (q *queue) push(class int, h header, body []byte, hot bool) (size int) {
	var scratch [maxHeader]byte
	head := appendHeader(scratch[:0], h)
	size = len(head) + len(body)
	l := &q.lanes[class]
	direct := len(body) >= directFrame
	need := size
	if direct {
		need = len(head) + 1
	}
	seg := l.last(need)
	if seg == nil {
		seg = l.grow(hot || need > smallBlock || direct)
	}
	b := append(seg.block.b, head...)
	if direct {
		n := min(cap(b)-len(b), len(body))
		b = append(b, body[:n]...)
		seg.tail = body[n:]
	} else {
		b = append(b, body...)
	}
	seg.block.b = b
	seg.count++
	q.bytes += size
	q.count++
	return size
}

// last is the segment at the end of the lane when need bytes fit into it.
func (l *lane) last(need int) *segment {
	if l.head == len(l.segs) {
		return nil
	}
	s := &l.segs[len(l.segs)-1]
	if s.tail != nil || cap(s.block.b)-len(s.block.b) < need {
		return nil
	}
	return s
}

func (l *lane) grow(large bool) *segment {
	large = large || l.head < len(l.segs)
	if l.head > 0 && len(l.segs) == cap(l.segs) {
		n := copy(l.segs, l.segs[l.head:])
		clear(l.segs[n:])
		l.segs, l.head = l.segs[:n], 0
	}
	l.segs = append(l.segs, segment{block: getBlock(large)})
	return &l.segs[len(l.segs)-1]
}

// pop takes the first segment of the highest class that has one.
func (q *queue) pop(class int) (segment, bool) {
	l := &q.lanes[class]
	if l.head == len(l.segs) {
		return segment{}, false
	}
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
	q.bytes -= s.size()
	q.count -= s.count
	return s, true
}

// has tells whether a class has something queued.
func (q *queue) has(class int) bool {
	l := &q.lanes[class]
	return l.head < len(l.segs)
}

// clear drops everything and gives the blocks back.
func (q *queue) clear() (bytes, count int) {
	bytes, count = q.bytes, q.count
	for c := range q.lanes {
		for {
			s, ok := q.pop(c)
			if !ok {
				break
			}
			s.block.release()
		}
	}
	return bytes, count
}
