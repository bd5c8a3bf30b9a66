package session

import (
	"context"
	"sync"
	"sync/atomic"
)

// receiver is one message type on its way from one peer: the streams of it, of
// which one is read at a time, in the order of their arrival.
type receiver struct {
	t *messageType

	mu   sync.Mutex    // guards the two fields below
	tail chan struct{} // closed when the last open stream has ended
	open int32         // streams that are read or wait for it

	delivering atomic.Bool // Deliver has not returned

	messages, bytes                 atomic.Uint64
	streams, faults, panics, errors atomic.Uint32
}

// enter waits until the streams before this one have ended. It is false when
// there are too many of them. The caller calls end when its stream is finished.
func (in *receiver) enter(ctx context.Context, most int) (end func(), ok bool) {
	in.mu.Lock()
	if int(in.open) >= most {
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

func (in *receiver) stats() ReceiveStats {
	return ReceiveStats{
		Messages: in.messages.Load(),
		Bytes:    in.bytes.Load(),
		Streams:  uint64(in.streams.Load()),
		Faults:   uint64(in.faults.Load()),
		Panics:   uint64(in.panics.Load()),
		Errors:   uint64(in.errors.Load()),
	}
}
