package testnet

import (
	"bytes"
	"io"
	"time"
)

// read is Read of end i.
func (f *flow) read(i int, b []byte) (int, error) {
	e, in := &f.ends[i], &f.lanes[1-i]
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		now := time.Now()
		if err := e.state(); err != nil {
			return 0, err
		}
		if passed(e.readDeadline, now) {
			return 0, errTimeout
		}
		if len(b) == 0 {
			return 0, nil
		}
		until := e.reset
		if len(in.queue) > 0 && !in.queue[0].blackholed && !in.stopped {
			if n := f.takeLocked(i, b, now); n > 0 {
				return n, nil
			}
			if passed(in.queue[0].arrives, now) {
				return 0, io.EOF // takeLocked leaves nothing but a FIN
			}
			until = earliest(until, in.queue[0].arrives)
		}
		if passed(e.reset, now) {
			return 0, errReset
		}
		f.awaitLocked(&e.readable, earliest(until, e.readDeadline))
	}
}

// awaitLocked lets go of the lock while it waits.
func (f *flow) awaitLocked(s *signal, until time.Time) {
	c := s.wait()
	f.mu.Unlock()
	await(c, until)
	f.mu.Lock()
}

// takeLocked fills b with what has arrived at end i, and acknowledges it.
func (f *flow) takeLocked(i int, b []byte, now time.Time) int {
	in := &f.lanes[1-i]
	n := 0
	for n < len(b) && len(in.queue) > 0 {
		s := &in.queue[0]
		if s.fin || s.blackholed || s.arrives.After(now) {
			break
		}
		k := copy(b[n:], s.data)
		n += k
		if k < len(s.data) {
			s.data = s.data[k:]
			break
		}
		in.queue[0] = segment{}
		in.queue = in.queue[1:]
	}
	if n == 0 {
		return 0
	}
	if f.lanes[i].blocked {
		in.unacked += n
		return n
	}
	in.size -= n
	f.ends[1-i].writable.fire()
	return n
}

// write is Write of end i.
func (f *flow) write(i int, b []byte) (int, error) {
	e, out := &f.ends[i], &f.lanes[i]
	f.mu.Lock()
	defer f.mu.Unlock()
	n, mine := 0, false
	for {
		now := time.Now()
		if err := f.writableLocked(i, now); err != nil {
			f.releaseWriterLocked(i, mine)
			return n, err
		}
		if !out.busy {
			out.busy, mine = true, true
		}
		if mine {
			for n < len(b) && out.size < f.net.window {
				k := min(len(b)-n, segmentSize, f.net.window-out.size)
				out.size += k
				f.sendLocked(i, segment{data: bytes.Clone(b[n : n+k])}, now)
				n += k
			}
			if n == len(b) {
				f.releaseWriterLocked(i, mine)
				return n, nil
			}
		}
		f.awaitLocked(&e.writable, earliest(e.reset, e.writeDeadline))
	}
}

// writableLocked returns why end i cannot write, if so.
func (f *flow) writableLocked(i int, now time.Time) error {
	e := &f.ends[i]
	switch {
	case e.dead():
		return e.state()
	case passed(e.writeDeadline, now):
		return errTimeout
	case f.lanes[i].finished:
		return errPipe
	case passed(e.reset, now):
		return errReset
	}
	return nil
}

// releaseWriterLocked lets the next Write of end i begin. Writes are whole, as
// in TCP: those of two goroutines do not mix.
func (f *flow) releaseWriterLocked(i int, mine bool) {
	if mine {
		f.lanes[i].busy = false
		f.ends[i].writable.fire()
	}
}

// closeWrite is CloseWrite of end i.
func (f *flow) closeWrite(i int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, out := &f.ends[i], &f.lanes[i]
	if err := e.state(); err != nil {
		return err
	}
	now := time.Now()
	if passed(e.reset, now) {
		return errReset
	}
	if out.finished {
		return nil
	}
	out.finished = true
	f.sendLocked(i, segment{fin: true}, now)
	e.writable.fire()
	return nil
}
