package dispatcher

import (
	"context"
	"errors"
	"math"
)

// PutMessage hands msg to every subscriber of its type, which happens soon
// after it has returned.
//
// It waits only while the queue of a type with a lossless subscriber is full.
// Without one, a full queue is ErrQueueFull at once, and the message counts as
// dropped. A message that nobody subscribes to is no error: it is counted.
// After Stop, and when Stop comes while it waits, the error is ErrClosed.
//
// Messages that one goroutine puts reach each subscriber in that order.
func (d *Dispatcher) PutMessage(msg Message) error {
	return d.put(context.Background(), msg, true)
}

// PutMessageContext is PutMessage that stops waiting when ctx ends, with its
// error. The message was not taken then and is not counted as received.
func (d *Dispatcher) PutMessageContext(ctx context.Context, msg Message) error {
	return d.put(ctx, msg, true)
}

// TryPutMessage is PutMessage that never waits: a full queue is ErrQueueFull.
// Of a type with a lossless subscriber such a message is not dropped but
// refused: it may be put again later.
func (d *Dispatcher) TryPutMessage(msg Message) error {
	return d.put(context.Background(), msg, false)
}

// PutMessages puts a batch, whose messages may be of several types, as
// PutMessageContext would one after the other, and returns how many were
// taken. It takes fewer locks and wakes the loop less often.
//
// A message that cannot be taken for a reason of its own (ErrQueueFull,
// ErrNilMessage, ErrInvalidType) does not hold up the others; err is the first
// such error. When ctx ends or the dispatcher is stopped, the rest of the
// batch is not put, and err matches the context's error or ErrClosed.
//
// It does not keep msgs.
func (d *Dispatcher) PutMessages(ctx context.Context, msgs []Message) (n int, err error) {
	var first error
	for len(msgs) > 0 {
		r, err := d.route(msgs[0])
		same, got := 1, 0
		switch {
		case r != nil:
			same = sameType(msgs, r.name)
			got, err = r.putRun(ctx, msgs[:same])
		case err == nil:
			got = 1 // unrouted
		}
		n += got
		msgs = msgs[same:]
		if err != nil && first == nil {
			first = err
		}
		if err != nil && got < same && !ofMessage(err) {
			if first != err {
				err = errors.Join(first, err)
			}
			return n, err
		}
	}
	return n, first
}

// ofMessage tells errors of one message from those of the whole call.
func ofMessage(err error) bool {
	return errors.Is(err, ErrQueueFull) || errors.Is(err, ErrNilMessage) || errors.Is(err, ErrInvalidType)
}

func sameType(msgs []Message, typ string) int {
	n := 1
	for n < len(msgs) && !isNilMessage(msgs[n]) && msgs[n].MessageType() == typ {
		n++
	}
	return n
}

// route finds the room of a message. Without one the message is accounted for.
func (d *Dispatcher) route(m Message) (*room, error) {
	if isNilMessage(m) {
		return nil, ErrNilMessage
	}
	if s := state(d.state.Load()); s != stateRunning {
		return nil, s.err()
	}
	typ := m.MessageType()
	if r := (*d.rooms.Load())[typ]; r != nil {
		return r, nil
	}
	if err := ValidType(typ); err != nil {
		return nil, err
	}
	d.other.Add(1)
	return nil, nil
}

func isNilMessage(m Message) bool {
	bm, ok := m.(*BasicMessage)
	return m == nil || ok && bm == nil
}

// sizeOf is the length of the payload, which is what queues are bounded by.
func sizeOf(m Message) uint32 {
	if bm, ok := m.(*BasicMessage); ok {
		return uint32(min(len(bm.data), math.MaxUint32))
	}
	return uint32(min(len(m.Data()), math.MaxUint32))
}

func (d *Dispatcher) put(ctx context.Context, m Message, wait bool) error {
	r, err := d.route(m)
	if r == nil {
		return err
	}
	size := sizeOf(m)
	var k key
	if r.filtering.Load() {
		k = r.seeds.of(m)
	}
	r.mu.Lock()
	v := r.acceptLocked(m, size, k)
	if v == mustWait {
		if wait {
			_, err := r.waitLocked(ctx, batch{[]Message{m}, []uint32{size}, []key{k}})
			return err
		}
		r.refused++
	}
	tell := v == admitted && r.scheduleLocked()
	r.mu.Unlock()
	if tell {
		d.ready.push(r)
	}
	return v.err()
}

// verdict is what becomes of a message at its room's door.
type verdict uint8

const (
	admitted verdict = iota
	unrouted         // nobody there
	dropped          // full
	mustWait         // full, and somebody is lossless
	shut             // stopped
)

func (v verdict) err() error {
	switch v {
	case dropped, mustWait:
		return ErrQueueFull
	case shut:
		return ErrClosed
	}
	return nil
}

// acceptLocked admits a message if it can, and accounts for it unless it has
// to wait or came too late.
func (r *room) acceptLocked(m Message, size uint32, k key) verdict {
	switch {
	case r.closed:
		return shut
	case len(r.entries) == 0:
		r.received++
		r.done.unrouted++
		return unrouted
	case len(r.waiters) == 0 && r.fitsLocked(size):
		r.admitLocked(m, size, k)
		return admitted
	case r.lossless > 0 || len(r.waiters) > 0:
		return mustWait
	}
	r.received++
	r.done.drops[iQueueFull]++
	return dropped
}

const putChunk = 64 // messages that a batch admits under one lock

// putRun puts messages of this room's type.
func (r *room) putRun(ctx context.Context, msgs []Message) (n int, err error) {
	anyFull := false
	for len(msgs) > 0 {
		chunk := msgs[:min(len(msgs), putChunk)]
		got, full, err := r.putChunk(ctx, chunk)
		n += got
		anyFull = anyFull || full
		if err != nil {
			return n, err
		}
		msgs = msgs[len(chunk):]
	}
	if anyFull {
		return n, ErrQueueFull
	}
	return n, nil
}

func (r *room) putChunk(ctx context.Context, msgs []Message) (n int, full bool, err error) {
	var (
		sizes [putChunk]uint32
		keys  [putChunk]key
	)
	filtering := r.filtering.Load()
	for i, m := range msgs {
		sizes[i] = sizeOf(m)
		if filtering {
			keys[i] = r.seeds.of(m)
		}
	}
	tell := false
	r.mu.Lock()
	for i, m := range msgs {
		switch r.acceptLocked(m, sizes[i], keys[i]) {
		case admitted:
			tell = r.scheduleLocked() || tell
			n++
		case unrouted:
			n++
		case dropped:
			full = true
		case mustWait:
			// The loop has to know of what was admitted before this waits.
			if tell {
				r.d.ready.push(r)
			}
			got, err := r.waitLocked(ctx, batch{msgs[i:], sizes[i:len(msgs)], keys[i:len(msgs)]})
			return n + got, full, err
		case shut:
			r.refused += uint64(len(msgs) - i)
			r.mu.Unlock()
			return n, full, ErrClosed
		}
	}
	r.mu.Unlock()
	if tell {
		r.d.ready.push(r)
	}
	return n, full, nil
}
