package session

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// startLocked starts the goroutines that live as long as the session: the
// reader of the control stream. All others exist only while there is something
// to do. The engine's lock is held.
func (s *Session) startLocked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detach = s.budget.Attach(s.ping)
	s.wg.Go(s.readControl)
	s.timer = time.AfterFunc(min(s.live.interval, s.e.cfg.tickMost()), s.tick)
}

// Close ends the session: it refuses new messages, writes what is queued and
// says goodbye, each within FlushTimeout, and waits for the session's
// goroutines. A delivery that does not return is waited for no longer than
// that; Engine.Close names it. Close is idempotent; the first reason counts.
//
// Reasons that blame the peer, and a lost connection, skip the writing. The
// connection is left open, except when it is known to be dead.
func (s *Session) Close(reason handshake.Reason) { s.CloseWith(reason, "") }

// CloseWith is Close with a text of the application for the peer, of which at most
// 128 bytes are sent, cleaned.
func (s *Session) CloseWith(reason handshake.Reason, text string) {
	s.mu.Lock()
	if !s.closing.Load() {
		s.text = obs.Clean(text)
	}
	s.mu.Unlock()
	s.end(reason, false)
	<-s.Done()
	t := time.NewTimer(s.e.cfg.FlushTimeout)
	defer t.Stop()
	select {
	case <-s.over: // conclude
	case <-t.C:
	}
}

// end begins the end of the session, once, and does not wait for it.
func (s *Session) end(reason handshake.Reason, byRemote bool) {
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return
	}
	s.reason, s.byRemote = reason, byRemote
	s.hungUp, s.over = make(chan struct{}), make(chan struct{})
	s.closing.Store(true)
	s.timer.Stop()
	s.beginLocked()
	s.mu.Unlock()
	s.ctl.stop()
	s.progress.signal()             // to whoever waits for room
	go s.conclude(reason, byRemote) // Engine.wg was raised by Attach
}

// flushes tells whether a reason is one for which what is queued is still
// written.
func flushes(r handshake.Reason) bool {
	switch r {
	case handshake.ReasonRequested, handshake.ReasonShuttingDown, handshake.ReasonReplaced,
		handshake.ReasonAlreadyConnected, handshake.ReasonTooManyPeers, handshake.ReasonApplication:
		return true
	}
	return false
}

// goodbyeTime is how long each step of a goodbye may take. One who answers no
// pings is told so all the same, as it may still read; but a dead peer has to be
// noticed within ten seconds, most of which have passed by then.
func goodbyeTime(r handshake.Reason, most time.Duration) time.Duration {
	switch r {
	case handshake.ReasonTransportLost:
		return 0
	case handshake.ReasonPingTimeout:
		return most / 4
	}
	return most
}

// conclude is the end of a session, step by step, each of them bounded.
func (s *Session) conclude(reason handshake.Reason, byRemote bool) {
	defer s.e.wg.Done()
	timeout := s.e.cfg.FlushTimeout
	if !byRemote && flushes(reason) {
		s.until(timeout, s.hungUp, func() bool { return s.writers.Load() == 0 })
	}
	streams := s.stopSending()
	timeout = goodbyeTime(reason, timeout)
	clean := timeout > 0 && s.sayGoodbye(streams, reason, byRemote, timeout)
	s.cutOff(streams, clean)
	s.finish()
	s.wg.Wait()
	s.e.release(s)
	close(s.over)
}

// finish says that the session is over.
func (s *Session) finish() {
	s.mu.Lock()
	after := s.after
	s.after, s.finished = nil, true
	if s.done != nil {
		close(s.done)
	}
	s.mu.Unlock()
	for _, f := range after {
		go f()
	}
}

// stopSending drops what is still queued and returns the streams on which
// nobody is writing.
func (s *Session) stopSending() (streams []*sendStream) {
	for o := range s.queues() {
		o.mu.Lock()
		o.closed = true
		bytes, count := o.dropLocked(DropClosed)
		if !o.writing && o.stream != nil {
			streams = append(streams, o.stream)
			o.stream = nil
		}
		o.mu.Unlock()
		s.unbooked(bytes, count, DropClosed)
	}
	return streams
}

// sayGoodbye closes the outbound streams, says goodbye, and waits until the peer
// has taken everything, or, where the peer said goodbye, until all that it sent
// has been delivered. It is false when that did not come to its end in time.
func (s *Session) sayGoodbye(streams []*sendStream, reason handshake.Reason, byRemote bool, timeout time.Duration) bool {
	said := s.bounded(timeout, func() {
		for _, st := range streams {
			st.raw.CloseWrite()
		}
		if byRemote {
			return
		}
		s.ctl.last(s, goodbye{reason, s.opens.Load(), s.Text()}.append(nil))
		s.until(timeout, nil, s.ctl.idle)
		s.control.CloseWrite()
	})
	if !said {
		return false
	}
	if !byRemote {
		t := time.NewTimer(timeout)
		defer t.Stop()
		select {
		case <-s.hungUp: // readControl
		case <-t.C:
			return false
		}
		if !s.saidGoodbye() {
			return true
		}
		// Both said goodbye at once.
	}
	s.until(timeout, nil, s.drained)
	return s.bounded(timeout, func() { s.control.CloseWrite() })
}

// bounded runs something that a stuck connection may block, and waits for it
// for a bounded time.
func (s *Session) bounded(timeout time.Duration, f func()) bool {
	ready := make(chan struct{})
	s.wg.Go(func() {
		defer close(ready)
		f()
	})
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-ready:
		return true
	case <-t.C:
		return false
	}
}

// until waits for a condition that progress signals, for a bounded time, or until
// abort is closed.
func (s *Session) until(timeout time.Duration, abort <-chan struct{}, ok func() bool) {
	t := time.NewTimer(timeout)
	defer t.Stop()
	for {
		changed := s.progress.wait()
		if ok() {
			s.progress.done()
			return
		}
		select {
		case <-changed: // writerIdles, endReader, the control writer
			s.progress.done()
			continue
		case <-abort:
		case <-t.C:
		}
		s.progress.done()
		return
	}
}

// drained tells whether all streams that the peer announced have come and
// ended.
func (s *Session) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inStreams) == 0 && s.arrived >= s.announced
}

// cutOff ends whatever is still open. Doing so may block on a connection that
// is stuck, so it happens beside; a connection that did not let the peer say
// goodbye is closed, which unblocks the rest, unless a newer session is on it.
func (s *Session) cutOff(streams []*sendStream, clean bool) {
	s.mu.Lock()
	s.cut = true
	open := make([]network.Stream, 0, len(s.inStreams))
	for st := range s.inStreams {
		open = append(open, st)
	}
	s.mu.Unlock()
	for o := range s.queues() {
		o.mu.Lock()
		for _, st := range o.streamsLocked() {
			open = append(open, st.raw)
		}
		o.mu.Unlock()
	}
	s.detach()
	r, byRemote := s.Reason()
	s.cancel(&ClosedError{Reason: r, ByRemote: byRemote})
	for o := range s.queues() {
		o.giveUpOpening(context.Canceled)
	}
	if !clean && !s.e.cfg.Peers.Shared(s) {
		s.wg.Go(func() { s.conn.Close() })
	}
	s.wg.Go(func() {
		for _, st := range open {
			st.ResetWithError(network.StreamShutdown)
		}
		for _, st := range streams {
			if clean {
				st.raw.Close()
			} else {
				st.reset(network.StreamShutdown)
			}
		}
		if clean {
			s.control.Close()
		} else {
			s.control.Reset()
		}
	})
}
