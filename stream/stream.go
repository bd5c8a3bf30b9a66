package stream

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Stream is one tunnelled connection from the moment it was asked for until
// both directions have ended.
type Stream struct {
	group  *Group
	id     uint64
	peer   peer.ID
	dir    Direction
	opened time.Time

	in, out atomic.Uint64
	state   atomic.Uint32
	done    chan struct{}

	mu     sync.Mutex              // guards the fields below
	err    error                   // the first reason to end
	cancel context.CancelCauseFunc // while dialling
	end    endpoint                // from then on
	ended  bool
}

// endpoint is what carries a stream: a bridge or a net.Conn of the program.
type endpoint interface {
	abort()
	localAddr() net.Addr // may be nil
	remote() network.Stream
}

// Info returns the stream as it is now.
func (s *Stream) Info() Info {
	s.mu.Lock()
	end := s.end
	s.mu.Unlock()
	i := Info{
		ID: s.id, Listener: s.group.set.Listener, Protocol: s.group.set.Protocol, Peer: s.peer,
		Direction: s.dir, State: State(s.state.Load()),
		Opened: s.opened, Age: time.Since(s.opened),
		BytesIn: s.in.Load(), BytesOut: s.out.Load(), stream: s,
	}
	if end != nil {
		if a := end.localAddr(); a != nil {
			i.Local = a.String()
		}
		i.Remote = end.remote().Conn().RemoteMultiaddr()
	}
	return i
}

// Fail ends a stream that could not be dialled or served.
func (s *Stream) Fail(err error) {
	s.setErr(err)
	s.finish()
}

// attach puts the carrier in place, unless the stream was closed meanwhile.
func (s *Stream) attach(e endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.end = e
	s.state.Store(uint32(Open))
	s.cancel(nil) // frees what the parent context keeps for it
	return nil
}

// kill ends the stream at once, for that reason.
func (s *Stream) kill(err error) {
	s.setErr(err)
	s.mu.Lock()
	cancel, end := s.cancel, s.end
	s.mu.Unlock()
	if cancel != nil {
		cancel(err)
	}
	if end != nil {
		end.abort()
	}
}

func (s *Stream) setErr(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.ended {
		s.err = Explain(err)
	}
}

// finish takes the stream out of the registry.
func (s *Stream) finish() {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	err, cancel := s.err, s.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel(err)
	}
	s.state.Store(uint32(Closed))
	if err != nil {
		s.group.reg.met.failed(err)
	}
	s.group.remove(s)
	close(s.done)
}

// received and sent count bytes from and to the peer.
func (s *Stream) received(n int) {
	if n > 0 {
		s.in.Add(uint64(n))
		s.group.in.Add(uint64(n))
		s.group.reg.met.in.Inc(int64(n))
	}
}

func (s *Stream) sent(n int) {
	if n > 0 {
		s.out.Add(uint64(n))
		s.group.out.Add(uint64(n))
		s.group.reg.met.out.Inc(int64(n))
	}
}

// halfDone notes that one direction has ended.
func (s *Stream) halfDone(state State) {
	s.state.CompareAndSwap(uint32(Open), uint32(state))
}
