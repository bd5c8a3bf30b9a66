package reqresp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	msmux "github.com/multiformats/go-multistream"

	"github.com/go-nebnet/nebnet/internal/multistream"
)

// openTimeout bounds how long the calls that wait for a stream wait.
const openTimeout = 10 * time.Second

// callerKey is what a stream is for.
type callerKey struct {
	peer   peer.ID
	method string
}

// caller is the calls of one method to one peer, on a stream of their own. It
// begins with the first call, and the stream is opened beside: calls do not wait
// for it.
type caller struct {
	e      *Engine
	key    callerKey
	kind   Kind
	number uint32 // of the peer's offer
	out    outbox

	// Guarded by the lock of out: a call gets its number in the same step in
	// which its first frame is queued.
	calls  callTable
	err    error          // why there can be no more calls
	stream network.Stream // nil while it is being opened
	idle   time.Time      // since when there was no call
}

// errIdle ends a stream without calls. Nobody gets to see it.
var errIdle = errors.New("idle")

// caller returns the stream for a method to a peer, a new one if need be.
func (e *Engine) caller(key callerKey, kind Kind) (*caller, error) {
	number, theirs, ok := e.cfg.Offers.Offered(key.peer, key.method)
	if !ok && e.cfg.Peers.SessionConn(key.peer) == nil {
		return nil, ErrNoSession
	}
	if !ok || theirs != kind {
		return nil, e.localError(key, Unsupported, "")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.callers[key]; c != nil && c.kind == kind && c.number == number {
		return c, nil
	}
	if e.closed {
		return nil, ErrClosed
	}
	conn := e.cfg.Peers.SessionConn(key.peer)
	if conn == nil {
		return nil, ErrNoSession
	}
	c := &caller{e: e, key: key, kind: kind, number: number, idle: time.Now()}
	c.out.init()
	e.callers[key] = c
	e.wg.Go(func() { c.run(conn) })
	return c, nil
}

// run opens the stream, and reads and writes it to its end.
func (c *caller) run(conn network.Conn) {
	err := c.serve(conn)
	c.end(err)
	c.e.mu.Lock()
	if c.e.callers[c.key] == c {
		delete(c.e.callers, c.key)
	}
	c.e.mu.Unlock()
	if f, ok := errors.AsType[Fault](err); ok {
		c.e.fault(c.key.peer, f)
	}
}

func (c *caller) serve(conn network.Conn) error {
	s, lazy, err := c.openStream(conn)
	if err != nil {
		return err
	}
	defer s.Reset() // nothing after a stream that was closed in good order
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(c.e.ctx)
	defer cancel() // before the wait for the writer
	wg.Go(func() {
		err := c.write(c.e.newWriter(ctx, s, lazy))
		if errors.Is(err, errIdle) {
			s.Close()
			return
		}
		c.end(err)
		s.Reset()
	})
	err = c.read(newFrameReader(lazy))
	c.end(err) // ends the writer
	return err
}

// openStream opens the stream on the connection of the session. The negotiation
// goes out with the first data.
func (c *caller) openStream(conn network.Conn) (network.Stream, io.ReadWriter, error) {
	ctx, cancel := context.WithTimeout(c.e.ctx, openTimeout)
	defer cancel()
	s, err := conn.NewStream(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open stream: %w", err)
	}
	if err := s.SetProtocol(c.e.protocol); err != nil {
		s.Reset()
		return nil, nil, fmt.Errorf("open stream: %w", err)
	}
	c.out.mu.Lock()
	c.stream, err = s, c.err
	c.out.mu.Unlock()
	if err != nil {
		s.Reset()
		return nil, nil, err
	}
	return s, msmux.NewMSSelect(s, c.e.protocol), nil
}

func (c *caller) write(w io.Writer) error {
	if _, err := w.Write(appendHead(nil, c.number)); err != nil {
		return err
	}
	return c.out.pump(w)
}

// read takes what the peer says until the stream ends.
func (c *caller) read(r *frameReader) error {
	for {
		h, err := r.next()
		if err == nil {
			err = c.frame(r, h)
		}
		if err != nil {
			return err
		}
	}
}

// frame takes one frame. Its error ends the stream.
func (c *caller) frame(r *frameReader, h header) error {
	if h.call == 0 {
		return c.streamRefused(r, h)
	}
	c.out.mu.Lock()
	k, is := c.calls.get(h.call)
	c.out.mu.Unlock()
	switch {
	case is == unsolicited:
		c.e.fault(c.key.peer, FaultUnsolicited)
		return nil // dropped
	case is == former:
		return nil
	}
	switch h.kind {
	case kindData:
		grant, err := k.in.read(r, h.end, nil)
		if err == TooLarge {
			c.e.fault(c.key.peer, FaultOversize)
			c.remove(k, true)
			k.in.end(c.e.localError(c.key, TooLarge, "an answer above MaxAnswer"))
			return nil // what is left of it is skipped
		}
		if err != nil {
			return err
		}
		if h.end {
			c.remove(k, false)
		} else if grant > 0 {
			c.out.grant(k.out.call, grant)
		}
	case kindError:
		f, err := readFailure(r)
		if err != nil {
			return err
		}
		c.remove(k, false)
		k.in.end(c.e.remoteError(c.key, f))
	case kindCredit:
		if err := c.out.readCredit(r, &k.out); err != nil {
			return err
		}
	default:
		return FaultOrder
	}
	if r.left > 0 {
		return FaultFrame
	}
	return nil
}

// streamRefused takes an error frame for the stream as a whole: all calls fail
// with that.
func (c *caller) streamRefused(r *frameReader, h header) error {
	if h.kind != kindError {
		return FaultOrder
	}
	f, err := readFailure(r)
	if err != nil {
		return err
	}
	return c.e.remoteError(c.key, f)
}

// open begins a call, with its only request where there is but one. It is false
// when the stream has ended.
func (c *caller) open(k *call, t terms, req []byte, only bool) bool {
	var buf [2 * binary.MaxVarintLen64]byte
	fields := appendTerms(buf[:0], t)
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.err != nil {
		return false
	}
	k.c, k.out.call = c, c.calls.add(k)
	c.out.openLocked(&k.out, fields, req, only)
	return true
}

// remove ends a call: nothing more of it is sent or taken. With cancel, the peer
// is told, if the call was under way.
func (c *caller) remove(k *call, cancel bool) {
	c.out.mu.Lock()
	if _, is := c.calls.get(k.out.call); is == current {
		c.calls.remove(k.out.call)
		if len(c.calls.open) == 0 {
			c.idle = time.Now()
		}
		if cancel {
			c.out.controlLocked(kindCancel, k.out.call, nil)
		}
	}
	taken := k.out.dropLocked()
	c.out.mu.Unlock()
	if taken != nil {
		taken()
	}
}

// end fails all calls, and those to come. The first reason counts.
func (c *caller) end(err error) {
	if err == nil || err == io.EOF {
		err = ErrEnded
	}
	c.out.mu.Lock()
	if c.err != nil {
		c.out.mu.Unlock()
		return
	}
	c.err = err
	calls, s := c.calls.open, c.stream
	c.calls.open = nil
	unsent := s == nil
	c.out.mu.Unlock()
	c.out.close(err)
	for _, k := range calls {
		c.out.drop(&k.out)
		k.in.end(c.failed(err, unsent))
	}
	if s != nil && err != errIdle {
		s.Reset()
	}
}

// failed is the error of a call whose stream has ended.
func (c *caller) failed(err error, unsent bool) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if notSpoken(err) {
		return c.e.remoteError(c.key, failure{code: Unsupported})
	}
	return &TransportError{Peer: c.key.peer, Method: c.key.method, Unsent: unsent, Err: err}
}

// notSpoken tells whether an error says that the peer does not know the protocol
// at all. Its reset may overtake the answer itself.
func notSpoken(err error) bool {
	if multistream.NotSupported(err) {
		return true
	}
	se, ok := errors.AsType[*network.StreamError](err)
	return ok && se.Remote && se.ErrorCode == network.StreamProtocolNegotiationFailed
}

// endIdle closes the stream if there was no call since then.
func (c *caller) endIdle(since time.Time) {
	c.out.mu.Lock()
	idle := c.err == nil && len(c.calls.open) == 0 && c.idle.Before(since)
	if idle {
		c.err = errIdle
	}
	c.out.mu.Unlock()
	if idle {
		c.e.forget(c)
		c.out.close(errIdle)
	}
}
