package listener

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/stream"
)

// Kind says what a listener listens on and where its connections go.
type Kind uint8

const (
	// Local listens on a local socket and opens a stream to a peer for each
	// connection.
	Local Kind = iota + 1
	// Remote serves a protocol to peers and connects each stream to a local
	// service.
	Remote
	// Program serves a protocol to peers and hands the streams to the program.
	Program
)

func (k Kind) String() string {
	switch k {
	case Local:
		return "local"
	case Remote:
		return "remote"
	case Program:
		return "program"
	}
	return "unknown"
}

// State is whether a listener takes connections.
type State uint8

const (
	// Listening takes connections.
	Listening State = iota
	// Closed was closed, by Close or by its context.
	Closed
	// Failed ended by an error, which Err tells.
	Failed
)

func (s State) String() string {
	switch s {
	case Listening:
		return "listening"
	case Closed:
		return "closed"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Info is a listener as it was at one moment. Its methods act on the listener
// itself. Those of an Info that did not come from a Registry do nothing: it is
// closed.
type Info struct {
	ID       uint64 // counts from 1 within a Registry
	Kind     Kind
	Protocol protocol.ID
	// Listen is where connections come from: the local address, with the real
	// port, or /p2p/<own peer ID>.
	Listen ma.Multiaddr
	// Target is where they go: /p2p/<peer ID>, or the address of the local
	// service. Nil for kind Program.
	Target ma.Multiaddr
	// Peer is the peer that kind Local dials, else empty.
	Peer peer.ID
	// Addrs is where that peer was said to be, if anything was said.
	Addrs  []ma.Multiaddr
	State  State
	Opened time.Time
	Age    time.Duration
	// Totals are over all streams since the listener was made.
	stream.Totals

	l *Listener
}

// Close stops listening and waits until it has. Streams that run are left
// running; Running tells which. Closing twice does nothing. The error is that
// of closing the socket.
func (i Info) Close() error {
	if i.l == nil {
		return nil
	}
	return i.l.Close()
}

// CloseStreams stops listening, resets the streams that run and waits for all
// of it. It returns those streams as they were.
func (i Info) CloseStreams() []stream.Info {
	if i.l == nil {
		return nil
	}
	return i.l.CloseStreams()
}

// Running returns the streams of the listener that run now.
func (i Info) Running() []stream.Info {
	if i.l == nil {
		return nil
	}
	return i.l.cfg.Group.List()
}

// Now returns the listener as it is now.
func (i Info) Now() Info {
	if i.l == nil {
		return i
	}
	return i.l.Info()
}

// Done is closed when the listener has stopped listening.
func (i Info) Done() <-chan struct{} {
	if i.l == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return i.l.done
}

// Err is why the listener stopped: nil while it listens, ErrClosed after Close,
// else the error that ended it.
func (i Info) Err() error {
	if i.l == nil {
		return ErrClosed
	}
	i.l.mu.Lock()
	defer i.l.mu.Unlock()
	return i.l.err
}

// Match selects listeners.
type Match func(Info) bool

// All matches every listener.
func All() Match { return func(Info) bool { return true } }

// ByID matches the listener of that identity.
func ByID(id uint64) Match { return func(i Info) bool { return i.ID == id } }

// ByProtocol matches the listeners of a protocol.
func ByProtocol(p protocol.ID) Match { return func(i Info) bool { return i.Protocol == p } }

// ByTarget matches the listeners that connect to an address.
func ByTarget(a ma.Multiaddr) Match {
	return func(i Info) bool { return a != nil && i.Target != nil && a.Equal(i.Target) }
}

// ByListenAddress matches the listeners that listen on an address.
func ByListenAddress(a ma.Multiaddr) Match {
	return func(i Info) bool { return a != nil && i.Listen != nil && a.Equal(i.Listen) }
}
