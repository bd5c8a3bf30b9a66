package dispatcher

import (
	"context"
	"errors"
)

// PutMessage hands msg to every subscriber of its type, which happens soon
// after it has returned.
//
// It waits only for lossless subscribers of the type that have no place left in
// their queues. Calls that wait are admitted first come, first served for each
// sender (MessageFrom), and the senders in turns. Without a lossless subscriber,
// a full inbox of the type is ErrQueueFull at once, and the message counts as
// dropped. A message that nobody subscribes to is no error: it is counted.
// After Stop, and when Stop comes while it waits, the error is ErrClosed.
//
// Messages that one goroutine puts reach each subscriber in that order.
func (d *Dispatcher) PutMessage(msg Message) error {
	return d.put(context.Background(), msg, true)
}

// PutMessageContext is PutMessage that stops waiting when ctx ends, with its
// error, which is wrapped. The message was not taken then and is not counted as received.
func (d *Dispatcher) PutMessageContext(ctx context.Context, msg Message) error {
	return d.put(ctx, msg, true)
}

// TryPutMessage is PutMessage that never waits: where that would wait, the error
// is ErrQueueFull, and the message is not dropped but refused: it may be put
// again later.
func (d *Dispatcher) TryPutMessage(msg Message) error {
	return d.put(context.Background(), msg, false)
}

// PutMessages puts a batch, whose messages may be of several types, as
// PutMessageContext would one after the other, and returns how many were
// taken. It takes fewer locks and wakes the loop less often. A batch that has to
// wait does so as the sender of the first message that has to.
//
// A message that cannot be taken for a reason of its own (ErrQueueFull,
// ErrNilMessage, ErrInvalidType) does not hold up the others; err is the first
// such error. When ctx ends or the dispatcher is stopped, the rest of the
// batch is not put, and err matches the context's error or ErrClosed.
//
// It does not keep msgs.
func (d *Dispatcher) PutMessages(ctx context.Context, msgs []Message) (n int, err error) {
	var (
		first error
		items [putChunk]item
	)
	for len(msgs) > 0 {
		t, end := d.route(msgs[0], &items[0])
		run := 1
		for t != nil && run < min(len(msgs), putChunk) && t.describes(msgs[run], &items[run]) {
			run++
		}
		got := run
		switch {
		case t != nil:
			got, end = t.put(ctx, items[:run], true)
		case end != nil:
			got = 0
		}
		clear(items[:run])
		n += got
		msgs = msgs[run:]
		if end != nil && !ofMessage(end) {
			if first != nil && first != end {
				end = errors.Join(first, end)
			}
			return n, end
		}
		if first == nil {
			first = end
		}
	}
	return n, first
}

// describes tells whether a message is one of this topic, and fills in its item.
func (t *topic) describes(m Message, it *item) bool {
	return it.of(m) == nil && it.head.msgType == t.name
}

const putChunk = 64 // messages that a batch admits under one lock

// ofMessage tells errors of one message from those of the whole call.
func ofMessage(err error) bool {
	return errors.Is(err, ErrQueueFull) || errors.Is(err, ErrNilMessage) || errors.Is(err, ErrInvalidType)
}

// route finds the topic of a message: nil, without an error, for one that
// nobody ever subscribed to, which it counts.
func (d *Dispatcher) route(m Message, it *item) (*topic, error) {
	if err := it.of(m); err != nil {
		return nil, err
	}
	if s := state(d.state.Load()); s != stateRunning {
		return nil, s.err()
	}
	if t := (*d.topics.Load())[it.head.msgType]; t != nil {
		return t, nil
	}
	err := ValidType(it.head.msgType)
	if err == nil {
		d.other.Add(1)
	}
	return nil, err
}

func (d *Dispatcher) put(ctx context.Context, m Message, wait bool) error {
	var it item
	t, err := d.route(m, &it)
	if t == nil {
		return err
	}
	if t.filtering.Load() {
		it.key = t.seeds.of(m)
	}
	// Mostly there is space. To go through topic.put all the same takes longer
	// (BenchmarkDispatch, 1to1).
	t.mu.Lock()
	ok := t.tryLocked(&it)
	tell := ok && t.scheduleLocked()
	t.mu.Unlock()
	if tell {
		d.ready.push(t)
	}
	if !ok {
		_, err = t.put(ctx, []item{it}, wait)
	}
	return err
}

// put puts messages of this topic, and returns how many it took. The error is
// ErrQueueFull when some were dropped, or one would have to wait and may not.
func (t *topic) put(ctx context.Context, items []item, wait bool) (n int, err error) {
	keyed := items[0].key != key{}
	if !keyed && t.filtering.Load() {
		t.keys(items)
		keyed = true
	}
	tell := false
	t.mu.Lock()
	for i := 0; i < len(items); i++ {
		v := t.acceptLocked(&items[i])
		switch {
		case v == admitted:
			tell = t.scheduleLocked() || tell
			n++
		case v == unrouted:
			n++
		case v == dropped:
			err = t.errFull
		case v == shut:
			t.refused += uint64(len(items) - i)
			t.mu.Unlock()
			return n, ErrClosed
		case v == mustWait && !wait:
			t.refused++
			err = t.errNoCredit
		case tell || !keyed:
			// Before this waits, the loop has to know of what was admitted. And who
			// waits may be admitted after somebody has begun to filter.
			t.mu.Unlock()
			if tell {
				t.d.ready.push(t)
			}
			if !keyed {
				t.keys(items[i:])
			}
			tell, keyed = false, true
			t.mu.Lock()
			i-- // once more
		default:
			got, waited := t.waitLocked(ctx, items[i:])
			if waited != nil {
				err = waited
			}
			return n + got, err
		}
	}
	t.mu.Unlock()
	if tell {
		t.d.ready.push(t)
	}
	return n, err
}

// keys computes the keys of messages. Hash of a message may be code of another
// module.
func (t *topic) keys(items []item) {
	for i := range items {
		items[i].key = t.seeds.of(items[i].msg)
	}
}
