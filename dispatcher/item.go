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

// newItem asks a message for its type, its sender and its size.
func newItem(m Message) (item, error) {
	switch m := m.(type) {
	case nil:
		return item{}, ErrNilMessage
	case *BasicMessage:
		if m == nil {
			return item{}, ErrNilMessage
		}
		if m.head == nil {
			return item{msg: m, head: new(head), size: sizeOf(m.data)}, nil
		}
		return item{msg: m, head: m.head, size: sizeOf(m.data)}, nil
	}
	of := head{m.MessageType(), m.MessageFrom()}
	if c, ok := m.(Carrier); ok {
		if b := c.Basic(); b != nil && b.of() == of {
			return item{msg: m, head: b.head, size: sizeOf(m.Data())}, nil
		}
	}
	return item{msg: m, head: &of, size: sizeOf(m.Data())}, nil
}

// sizeOf bounds a size, so that sums of them cannot overflow.
func sizeOf(data []byte) int { return int(min(uint64(len(data)), math.MaxUint32>>1)) }
