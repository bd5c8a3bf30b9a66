package reqresp

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// incoming is what one side of a call receives: the messages that are complete,
// and the one that is coming in.
type incoming struct {
	max  int  // of one message, in bytes
	flow bool // there is flow control: credit is valid
	wake chan struct{}

	part  assembly // the reader's
	bytes atomic.Int64

	mu     sync.Mutex // guards what follows
	credit inflow
	msgs   []received // not yet taken by the program
	ended  bool
	err    error // why it ended, if not in good order
}

// received is a complete message, with the credit that taking it gives back.
type received struct {
	data   []byte
	booked int
}

// init prepares for messages of at most so many bytes, with flow control if there
// is a window.
func (in *incoming) init(most, window int) {
	in.max, in.wake = most, make(chan struct{}, 1)
	if window > 0 {
		in.flow, in.credit = true, newInflow(window)
	}
}

// read takes what is left of a frame, and the end of the messages if it says so.
// The size of a message is checked before admit is asked about it, and before
// anything is allocated. grant is credit to be sent.
func (in *incoming) read(r *frameReader, end bool, admit func(size int) error) (grant int, err error) {
	var msg []byte
	var complete bool
	if r.left > 0 {
		if err := in.fragment(r, admit); err != nil {
			return 0, err
		}
		msg, complete = in.part.take()
	}
	if end && in.part.begun {
		return 0, FaultFrame // in the middle of a message
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if complete && !in.ended {
		m := received{data: msg}
		if in.flow {
			m.booked = in.credit.completed()
		}
		in.msgs = append(in.msgs, m)
	}
	if end {
		in.ended = true
	}
	if complete || end {
		in.signal()
	}
	if in.flow && !end {
		grant = in.credit.grant()
	}
	return grant, nil
}

// fragment reads a part of a message.
func (in *incoming) fragment(r *frameReader, admit func(size int) error) error {
	cost := 0
	if !in.part.begun {
		total, err := r.uvarint()
		if err != nil {
			return err
		}
		if total > uint64(in.max) {
			return TooLarge
		}
		if admit != nil {
			if err := admit(int(total)); err != nil {
				return err
			}
		}
		in.part.begin(int(total))
		cost = messageCost
	}
	n := r.left
	dst, ok := in.part.grow(n)
	if !ok {
		return FaultFrame
	}
	if in.flow {
		in.mu.Lock()
		ok := in.credit.arrived(cost+n, len(in.msgs) == 0)
		in.mu.Unlock()
		if !ok {
			return FaultCredit
		}
	}
	in.bytes.Add(int64(n))
	return r.read(dst)
}

// end tells the program that nothing more comes. The first one counts.
func (in *incoming) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return
	}
	in.ended, in.err = true, err
	in.signal()
}

func (in *incoming) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// poll returns a message, or how the messages ended; neither while nothing is
// there.
func (in *incoming) poll() (msg []byte, grant int, ended bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.msgs) == 0 {
		return nil, 0, in.ended, in.err
	}
	m := in.msgs[0]
	in.msgs[0] = received{}
	in.msgs = in.msgs[1:]
	if len(in.msgs) == 0 {
		in.msgs = nil
	}
	if in.flow {
		in.credit.used(m.booked, len(in.msgs) == 0)
		grant = in.credit.grant()
	}
	return m.data, grant, false, nil
}

// next waits for a message until ctx ends, or no byte has come for idle. ok is
// false at the end.
func (in *incoming) next(ctx context.Context, idle time.Duration) (msg []byte, grant int, ok bool, err error) {
	var w wait
	defer w.stop()
	for {
		msg, grant, ended, err := in.poll()
		if msg != nil || ended {
			return msg, grant, msg != nil, err
		}
		if err := w.until(ctx, in.wake, idle, in.bytes.Load); err != nil {
			return nil, 0, false, err
		}
	}
}

// wait waits for signals, and gives up when nothing moves.
type wait struct {
	timer *time.Timer
	last  int64
}

// until returns nil after a signal on ch, the cause of ctx when that ends, and
// context.DeadlineExceeded when progress has given the same number for idle.
func (w *wait) until(ctx context.Context, ch <-chan struct{}, idle time.Duration, progress func() int64) error {
	if w.timer == nil {
		w.timer, w.last = time.NewTimer(idle), progress()
	}
	for {
		select {
		case <-ch:
			// Of both at once the end counts: what is dropped signals as well, and a
			// handler would go on and on.
			return context.Cause(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.timer.C:
			now := progress()
			if now == w.last {
				return context.DeadlineExceeded
			}
			w.last = now
			w.timer.Reset(idle)
		}
	}
}

func (w *wait) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
