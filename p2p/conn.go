package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// DialConn opens a stream to the peer as a net.Conn, without any local port.
// The context bounds the dialling only. It returns when the peer has agreed to
// the protocol. The connection appears in Streams until it is closed. Of the
// limits, those given to NewP2P count.
//
// Errors: ErrUnreachable, ErrNotServed, ErrLimit, ErrProtocolName, ErrClosed;
// a peer that does not admit us resets the stream, and the first Read returns
// ErrNotAdmitted.
func (p *P2P) DialConn(ctx context.Context, remote peer.ID, proto string, opts ...Option) (net.Conn, error) {
	d, err := p.dialSpec(ctx, nil, remote, proto, opts)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", proto, err)
	}
	if !p.enter() {
		return nil, fmt.Errorf("dial %s: %w", proto, ErrClosed)
	}
	defer p.work.Done()
	ctx, cancel := context.WithTimeout(ctx, d.set.dialTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)() // Close ends the dialling, too
	group := p.Streams.NewGroup(stream.Settings{Protocol: d.proto, Urgent: d.set.urgent})
	s, sctx, err := group.Open(ctx, remote, stream.Outbound)
	if err != nil {
		return nil, d.fail("dial", err)
	}
	d.sure = true
	st, _, err := p.open(sctx, d)
	if err != nil {
		if p.ctx.Err() != nil || errors.Is(context.Cause(sctx), ErrClosed) {
			err = fmt.Errorf("dial %s: %w", proto, ErrClosed)
		}
		s.Fail(err)
		return nil, err
	}
	c, err := s.Conn(st)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", proto, err)
	}
	return c, nil
}

// Listen serves a protocol to peers as a net.Listener, so that http.Server and
// its like run over peers without a port. The listener, and the connections it
// made, end with ctx; closing it leaves the connections alone.
//
// Errors: ErrProtocolName, ErrProtocolTaken, ErrClosed.
func (p *P2P) Listen(ctx context.Context, proto string, opts ...Option) (net.Listener, error) {
	set := p.defaults.with(opts)
	l := &connListener{
		addr: stream.Addr{Peer: p.self},
		wait: make(chan waiting, set.backlog),
	}
	info, err := p.serve(ctx, proto, set, listener.Program, nil, l.stopped, func(s *stream.Stream, _ context.Context, remote network.Stream) {
		l.put(s, remote)
	})
	if err != nil {
		return nil, err
	}
	l.info = info
	return l, nil
}

// connListener hands streams of peers to the program.
type connListener struct {
	addr stream.Addr
	info *listener.Info
	wait chan waiting

	mu     sync.Mutex // guards closed, and sending to wait
	closed bool
}

// waiting is a connection that nobody has accepted yet.
type waiting struct {
	*stream.Conn
	remote network.Stream
}

// refuse resets it and tells the peer why.
func (c waiting) refuse(err error) {
	_ = c.remote.ResetWithError(refusalCode(err))
	c.Abort(err)
}

// put queues a stream for Accept, or resets it.
func (l *connListener) put(s *stream.Stream, remote network.Stream) {
	c, err := s.Conn(remote)
	if err != nil {
		return // closed meanwhile
	}
	w := waiting{c, remote}
	if err := l.push(w); err != nil {
		w.refuse(err)
	}
}

func (l *connListener) push(c waiting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.wait <- c:
		return nil
	default:
		return &stream.LimitError{Scope: stream.ScopeAcceptQueue, Limit: cap(l.wait)}
	}
}

// stopped is called once when the protocol is no longer served.
func (l *connListener) stopped() {
	l.mu.Lock()
	l.closed = true
	close(l.wait)
	l.mu.Unlock()
	for c := range l.wait { // nobody will take these
		c.refuse(ErrClosed)
	}
}

// Accept returns the next connection of a peer. After Close it returns an error
// that matches ErrClosed.
func (l *connListener) Accept() (net.Conn, error) {
	c, ok := <-l.wait
	if !ok {
		return nil, &net.OpError{Op: "accept", Net: "libp2p", Addr: l.addr, Err: ErrClosed}
	}
	return c.Conn, nil
}

func (l *connListener) Close() error { return l.info.Close() }

func (l *connListener) Addr() net.Addr { return l.addr }
