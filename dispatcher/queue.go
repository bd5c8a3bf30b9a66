package dispatcher

import "math"

// item is a message on its way, with what PutMessage found out about it. The
// loop and the queues read these fields only, because the methods of a Message
// may be code of another module.
type item struct {
	msg  Message
	head *head // its type and its sender
	key  key   // for the filter; zero where nobody filtered when it was put
	size int   // bytes of payload
}

// of fills in all but the key, by asking the message.
func (it *item) of(m Message) error {
	if b, ok := m.(*BasicMessage); ok {
		if b == nil {
			return ErrNilMessage
		}
		it.msg, it.head, it.size = m, b.head, sizeOf(b.data)
		if b.head == nil {
			it.head = new(head) // no constructor has made it
		}
		return nil
	}
	if m == nil {
		return ErrNilMessage
	}
	it.msg, it.size = m, sizeOf(m.Data())
	of := head{m.MessageType(), m.MessageFrom()}
	if b := basicOf(m); b != nil && b.head != nil && *b.head == of {
		it.head = b.head // saves an allocation
		return nil
	}
	it.head = &of
	return nil
}

// sizeOf bounds a size, so that sums of them cannot overflow.
func sizeOf(data []byte) int { return int(min(uint64(len(data)), math.MaxUint32>>1)) }

// ring is a first-in first-out queue of messages. It grows as it is filled; who
// uses it bounds it.
type ring struct {
	buf   []item // length is a power of two, or zero
	first uint64 // position of the oldest; its index is first & (len(buf)-1)
	n     int
	bytes int
}

// shrinkAbove is how many messages a buffer may have space for while nobody
// uses it.
const shrinkAbove = 1024

// at is the message at an index, 0 for the oldest.
func (r *ring) at(i int) *item { return &r.buf[(r.first+uint64(i))&uint64(len(r.buf)-1)] }

func (r *ring) push(it *item) {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.buf[(r.first+uint64(r.n))&uint64(len(r.buf)-1)] = *it
	r.n++
	r.bytes += it.size
}

// pop moves the oldest message to *it.
func (r *ring) pop(it *item) {
	p := &r.buf[r.first&uint64(len(r.buf)-1)]
	*it = *p
	*p = item{}
	r.first++
	r.n--
	r.bytes -= it.size
}

// remove takes out the message at an index. Those on its shorter side move up,
// so the others keep their order.
func (r *ring) remove(i int) (it item) {
	it = *r.at(i)
	if i < r.n/2 {
		for ; i > 0; i-- {
			*r.at(i) = *r.at(i - 1)
		}
		*r.at(0) = item{}
		r.first++
	} else {
		for ; i < r.n-1; i++ {
			*r.at(i) = *r.at(i + 1)
		}
		*r.at(i) = item{}
	}
	r.n--
	r.bytes -= it.size
	return it
}

func (r *ring) grow() {
	buf := make([]item, max(16, 2*len(r.buf)))
	for i := range r.n {
		buf[(r.first+uint64(i))&uint64(len(buf)-1)] = *r.at(i)
	}
	r.buf = buf
}
