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
