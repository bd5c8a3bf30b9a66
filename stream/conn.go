package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/neterr"
)

// Conn is a stream as a net.Conn of the program, without any local socket.
// Beyond net.Conn it can close its writing half.
type Conn struct {
	s      *Stream
	stream network.Stream
	kind   transportKind
	once   sync.Once

	readMu  sync.Mutex // one Read at a time, held across it
	writeMu sync.Mutex // one Write at a time, held across it and while closing

	mu       sync.Mutex // guards the fields below
	deadline time.Time  // for reading
	taking   bool       // a Read is taking data that is there, without a deadline
	eof      bool       // the peer has finished sending
	shut     bool       // nothing is written any more
	closed   bool
}

var _ net.Conn = (*Conn)(nil)

// Conn makes a net.Conn of the stream. Closing it ends the stream.
func (s *Stream) Conn(remote network.Stream) (*Conn, error) {
	remote = s.group.pace(remote)
	c := &Conn{s: s, stream: remote, kind: kindOf(remote)}
	if err := s.attach(c); err != nil {
		_ = remote.Reset()
		s.finish()
		return nil, err
	}
	return c, nil
}

// Read reads what the peer has sent: io.EOF after its CloseWrite or Close, an
// error that matches network.ErrReset after a reset.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	n, err := c.read(p)
	c.s.received(n)
	if !finished(err) {
		return n, c.wrap(err)
	}
	c.mu.Lock()
	c.eof = true
	closed := c.closed
	c.mu.Unlock()
	c.s.halfDone(PeerDone)
	if closed {
		return n, ErrClosed
	}
	return n, io.EOF
}

// read keeps deadlines away from the moment in which a yamux stream hands out
// data, because the window update would be lost with it and the stream stall
// later: it first waits for data, under the deadline, then takes it without.
// net/http ends its background reads by a deadline in the past, so this is not
// rare.
func (c *Conn) read(p []byte) (int, error) {
	if c.kind != yamuxStream || len(p) == 0 {
		return c.stream.Read(p)
	}
	if _, err := c.stream.Read(nil); err != nil {
		return 0, err
	}
	c.mu.Lock()
	if limited := !c.deadline.IsZero(); limited {
		if !time.Now().Before(c.deadline) {
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		_ = c.stream.SetReadDeadline(time.Time{})
	}
	c.taking = true
	c.mu.Unlock()

	n, err := c.stream.Read(p)
	if n > 0 {
		err = nil // see downWait
	}

	c.mu.Lock()
	c.taking = false
	if !c.deadline.IsZero() && !c.closed {
		_ = c.stream.SetReadDeadline(c.deadline)
	}
	c.mu.Unlock()
	return n, err
}

// Write sends to the peer. It waits while the peer does not read. CloseWrite and
// Close end it.
func (c *Conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	n, err := c.stream.Write(p)
	c.s.sent(n)
	if err != nil && c.isShut() {
		return n, ErrClosed
	}
	return n, c.wrap(err)
}

// CloseWrite tells the peer that no more data comes. Reading goes on.
func (c *Conn) CloseWrite() error {
	defer c.shutWriting()()
	if err := c.stream.CloseWrite(); err != nil {
		return c.wrap(err)
	}
	c.s.halfDone(LocalDone)
	return nil
}

// shutWriting ends a Write under way, and lets none begin until done is called.
// Closing a QUIC stream would not wake it, and must not happen beside it.
func (c *Conn) shutWriting() (done func()) {
	c.mu.Lock()
	c.shut = true
	_ = c.stream.SetWriteDeadline(time.Unix(1, 0))
	c.mu.Unlock()
	c.writeMu.Lock()
	return c.writeMu.Unlock
}

func (c *Conn) isShut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shut
}

// Close ends the connection. What was written is delivered; what the peer still
// sends is refused. A second Close does nothing. It always returns nil: that the
// peer has closed or reset already is no failure of closing, as with the system's
// sockets.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.mu.Lock()
		c.closed = true
		eof := c.eof
		c.mu.Unlock()
		defer c.shutWriting()()
		if c.kind == yamuxStream && !eof {
			// Close on yamux does not tell the peer to stop sending. The end of
			// file goes out first, so that what was written still arrives.
			_ = c.stream.CloseWrite()
			_ = c.stream.Reset()
		} else {
			_ = c.stream.Close()
		}
		c.s.finish()
	})
	return nil
}

// Abort resets the connection for that reason, which Info().Err tells.
func (c *Conn) Abort(err error) { c.s.kill(err) }

func (c *Conn) abort() {
	c.once.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		_ = c.stream.Reset()
		c.s.finish()
	})
}

// wrap makes errors of a connection that was closed here match net.ErrClosed. None
// of them matches io.EOF.
func (c *Conn) wrap(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case neterr.IsTimeout(err):
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF):
		return lost(err)
	}
	if why := reasonOf(err); why != nil {
		return fmt.Errorf("tunnel %s with %s: %w: %w", c.s.group.set.Protocol, c.s.peer, why, err)
	}
	return err // says whose it is, or is a reset without a reason
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline applies to a Read under way, too.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.deadline = t
	if c.taking {
		return nil // read sets it when it is done
	}
	return c.stream.SetReadDeadline(t)
}

// SetWriteDeadline applies to a Write under way, too.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.shut {
		return nil // there is no Write for it
	}
	return c.stream.SetWriteDeadline(t)
}

// LocalAddr is the local peer as an Addr.
func (c *Conn) LocalAddr() net.Addr { return Addr{c.stream.Conn().LocalPeer()} }

// RemoteAddr is the remote peer as an Addr.
func (c *Conn) RemoteAddr() net.Addr { return Addr{c.s.peer} }

// Info returns the stream underneath as it is now.
func (c *Conn) Info() Info { return c.s.Info() }

func (c *Conn) localAddr() net.Addr { return nil }

func (c *Conn) remote() network.Stream { return c.stream }

// Addr is a peer as a net.Addr: network "libp2p", and the peer ID as text.
type Addr struct{ Peer peer.ID }

// Network returns "libp2p".
func (Addr) Network() string { return "libp2p" }

func (a Addr) String() string { return a.Peer.String() }
