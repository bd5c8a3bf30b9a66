package testnet

import (
	"errors"
	"io"
	"net"
	"time"
)

// Conn is one end of a connection. It behaves as a *net.TCPConn does: errors
// are *net.OpErrors, deadlines are os.ErrDeadlineExceeded, closing with unread
// data resets.
type Conn struct {
	flow *flow
	side int
}

var _ net.Conn = (*Conn)(nil)

// Read takes what has arrived, and waits while nothing has.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.flow.read(c.side, b)
	if n > 0 {
		c.flow.ends[c.side].node.received.Add(uint64(n))
	}
	return n, c.wrap("read", err)
}

// Write returns when all of b is in the window, which is not to say that it has
// arrived.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.flow.write(c.side, b)
	if n > 0 {
		c.flow.ends[c.side].node.sent.Add(uint64(n))
	}
	return n, c.wrap("write", err)
}

// CloseWrite ends the stream of bytes to the other end, who reads io.EOF after
// the last of them. Reading goes on.
func (c *Conn) CloseWrite() error { return c.wrap("close", c.flow.closeWrite(c.side)) }

// Close ends the connection. What was written is delivered, unless SetLinger(0)
// was called or data has arrived that was not read: then the other end gets a
// reset.
func (c *Conn) Close() error {
	if !c.flow.closeEnd(c.side, false) {
		return c.wrap("close", errClosed)
	}
	return nil
}

// Reset ends the connection with a reset, which takes one latency to the other
// end.
func (c *Conn) Reset() { c.flow.closeEnd(c.side, true) }

// SetLinger is that of *net.TCPConn: with 0, Close resets the connection and
// drops what has not left the node; with anything else Close delivers.
func (c *Conn) SetLinger(sec int) error {
	f := c.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ends[c.side].linger = sec != 0
	return nil
}

// LocalAddr returns a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.flow.ends[c.side].addr) }

// RemoteAddr returns a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.flow.ends[1-c.side].addr) }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(&t, &t) }

// SetReadDeadline applies to a Read under way, too.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(&t, nil) }

// SetWriteDeadline applies to a Write under way, too.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(nil, &t) }

func (c *Conn) setDeadlines(r, w *time.Time) error {
	f := c.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &f.ends[c.side]
	if err := e.state(); err != nil {
		return c.wrap("set", err)
	}
	if r != nil {
		e.readDeadline = *r
		e.readable.fire()
	}
	if w != nil {
		e.writeDeadline = *w
		e.writable.fire()
	}
	return nil
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	f := c.flow
	return opError(op, f.ends[c.side].addr, f.ends[1-c.side].addr, err)
}

// state returns the error of an end that can no longer be used.
func (e *end) state() error {
	switch {
	case e.gone:
		return ErrNodeDown
	case e.closed:
		return errClosed
	}
	return nil
}
