package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// bridge joins a local connection and a stream. Two goroutines run: up copies
// from the local end to the peer, down the other way. Each ends on its own, and
// passes on the end of what it copied; see halfclose.go for the rules.
type bridge struct {
	s      *Stream
	local  net.Conn
	stream network.Stream
	kind   transportKind

	mu      sync.Mutex // guards the fields below
	up      outcome
	down    outcome
	reset   bool  // abort was called, nothing is delivered any more
	refused bool  // the reset came from the peer or the network: the local end gets one too
	closed  bool  // both directions have ended
	lost    error // the local end has reset, and down was told

	gone chan struct{} // closed by cut

	writing atomic.Bool // up is inside stream.Write
	telling atomic.Bool // down is inside local.Write
	stuffed atomic.Bool // down waits with a full buffer in its hands

	watch watch
}

// outcome is how a direction ended.
type outcome uint8

const (
	running outcome = iota
	clean           // everything was passed on, the end of file too
	broken          // the reader or the writer failed
)

// Bridge copies between the local connection and the stream, both ways, until
// both directions have ended, and closes both. It returns nil after a clean
// end, else the reason. It runs one direction itself, that in which the first bytes
// are likely, and the other in a goroutine of its own.
//
// ready, if not nil, is called once, before the first byte is read from the
// stream; an error ends the bridge. It finishes a protocol negotiation whose answer
// was not waited for.
func (s *Stream) Bridge(local net.Conn, remote network.Stream, ready func() error) error {
	remote = s.group.pace(remote)
	b := &bridge{s: s, local: local, stream: remote, kind: kindOf(remote), gone: make(chan struct{})}
	b.watch.init(b, s.group.set.Idle, s.group.set.Stall)
	if err := s.attach(b); err != nil {
		_ = remote.Reset()
		ResetConn(local)
		if ready != nil {
			_ = ready() // fails at once, and frees what it holds
		}
		s.finish()
		return err
	}
	first, other := b.runUp, func() { b.runDown(ready) }
	if s.dir == Inbound { // here the peer has something to say
		first, other = other, first
	}
	var wg sync.WaitGroup
	wg.Go(other)
	first()
	wg.Wait()
	b.finish()
	s.finish()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// runUp copies local → stream.
func (b *bridge) runUp() {
	src := newSource(b.local, b.s.group.reg.bufs)
	defer src.release()
	for {
		data, err := src.next()
		if len(data) > 0 {
			b.writing.Store(true)
			if !b.watch.looksWithin(lookTime) {
				b.watch.arm() // in case this takes long
			}
			werr := b.send(data)
			b.writing.Store(false)
			if werr != nil {
				b.upRefused(werr)
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			b.upEOF()
			return
		default:
			src.release() // upFailed may take a while
			b.upFailed(err)
			return
		}
	}
}

// send writes to the stream, in frames where the transport makes one of each
// write.
func (b *bridge) send(data []byte) error {
	most := len(data)
	if b.kind == yamuxStream {
		most = frameSize
	}
	for len(data) > 0 {
		n, err := b.stream.Write(data[:min(len(data), most)])
		b.s.sent(n)
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// runDown copies stream → local.
func (b *bridge) runDown(ready func() error) {
	if ready != nil {
		if err := ready(); err != nil {
			b.downFailed(err)
			return
		}
	}
	switch b.kind {
	case yamuxStream:
		b.downWait()
	default:
		b.downPeek()
	}
}

// downWait is the loop for yamux, whose streams can wait for data without a
// buffer: a read into an empty slice returns when there is something to read.
func (b *bridge) downWait() {
	bufs := b.s.group.reg.bufs
	for {
		if _, err := b.stream.Read(nil); err != nil {
			b.downEnd(err)
			return
		}
		buf := bufs.get(false) // a read brings one frame at most
		n, err := b.stream.Read(buf.data)
		ok := b.deliver(buf.data[:n])
		buf.release()
		if !ok {
			return
		}
		// With data, the error is that the connection is gone, which the peer may
		// have closed behind its end of file: then the rest is still to be read.
		if err != nil && n == 0 {
			b.downEnd(err)
			return
		}
	}
}

// downPeek is the loop for streams that need a buffer to wait with: a small one
// until a read fills it, then a large one until nothing has come for a while
// and the watch ends the read by a deadline in the past. (QUIC streams lose
// nothing by that. yamux streams would: a read whose deadline has passed takes
// the data and drops the window update that belongs to it.)
func (b *bridge) downPeek() {
	bufs := b.s.group.reg.bufs
	small := make([]byte, peekSize)
	var large *buffer
	release := func() {
		if large != nil {
			b.stuffed.Store(false)
			large.release()
			large = nil
		}
	}
	defer release()
	for {
		buf := small
		if large != nil {
			buf = large.data
		}
		n, err := b.stream.Read(buf)
		if !b.deliver(buf[:n]) {
			return
		}
		switch {
		case err == nil && large == nil && n == len(small):
			large = bufs.get(false)
			b.stuffed.Store(true)
			b.watch.arm()
		case err == nil && large != nil && !b.kind.deadlinesAreSafe() && n < peekSize:
			release()
		case err == nil && large != nil:
			if want := bulky(n, len(buf)); want != large.bulk() {
				large.release()
				large = bufs.get(want)
			}
		case err == nil:
		case b.kind.deadlinesAreSafe() && errors.Is(err, os.ErrDeadlineExceeded):
			release()
			_ = b.stream.SetReadDeadline(time.Time{})
		default:
			b.downEnd(err)
			return
		}
	}
}

// deliver writes to the local end. False means that the direction has ended.
func (b *bridge) deliver(data []byte) bool {
	if len(data) == 0 {
		return true
	}
	b.telling.Store(true)
	defer b.telling.Store(false)
	n, err := b.local.Write(data)
	b.s.received(n)
	if err != nil {
		b.downRefused(err)
		return false
	}
	return true
}

func (b *bridge) localAddr() net.Addr { return b.local.RemoteAddr() }

func (b *bridge) remote() network.Stream { return b.stream }
