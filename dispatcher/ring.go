package dispatcher

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
