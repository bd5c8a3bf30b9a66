package session

import (
	"context"
	"sync"
	"sync/atomic"
)

// inbound is one message type on its way from one peer: the streams of it, of
// which one is read at a time, in the order of their arrival.
type inbound struct {
	t *declared

	mu   sync.Mutex    // guards the fields below
	open int           // streams that are read or wait for their turn
	tail chan struct{} // closed when the last of them has ended

	delivering atomic.Bool // Deliver has not returned

	messages, bytes, streams, faults, panics, errors atomic.Uint64
}

// turn waits until the streams before this one have ended. It is false when
// there are too many of them. The caller calls end when its stream is finished.
func (in *inbound) turn(ctx context.Context, most int) (end func(), ok bool) {
	in.mu.Lock()
	if in.open >= most {
		in.mu.Unlock()
		return nil, false
	}
	in.open++
	before := in.tail
	mine := make(chan struct{})
	in.tail = mine
	in.mu.Unlock()
	in.streams.Add(1)
	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
		}
	}
	return func() {
		in.mu.Lock()
		in.open--
		if in.tail == mine {
			in.tail = nil
		}
		in.mu.Unlock()
		close(mine)
	}, true
}

func (in *inbound) stats() ReceiveStats {
	return ReceiveStats{
		Messages: in.messages.Load(),
		Bytes:    in.bytes.Load(),
		Streams:  in.streams.Load(),
		Faults:   in.faults.Load(),
		Panics:   in.panics.Load(),
		Errors:   in.errors.Load(),
	}
}
