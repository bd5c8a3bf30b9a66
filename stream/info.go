package stream

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
)

// Direction says which side opened a stream.
type Direction uint8

const (
	// Inbound streams were opened by the peer.
	Inbound Direction = iota + 1
	// Outbound streams were opened from here.
	Outbound
)

func (d Direction) String() string {
	switch d {
	case Inbound:
		return "in"
	case Outbound:
		return "out"
	}
	return "unknown"
}

// MarshalText returns the word that String does.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes that word.
func (d *Direction) UnmarshalText(text []byte) error {
	for _, known := range []Direction{Inbound, Outbound} {
		if known.String() == string(text) {
			*d = known
			return nil
		}
	}
	*d = 0
	return nil
}

// State is where a stream is in its life.
type State uint8

const (
	// Dialing: the peer or the local target is being dialled.
	Dialing State = iota
	// Open: both directions may carry data.
	Open
	// LocalDone: the local end has finished sending, the peer may go on.
	LocalDone
	// PeerDone: the peer has finished sending, the local end may go on.
	PeerDone
	// Closed: the stream has ended.
	Closed
)

func (s State) String() string {
	switch s {
	case Dialing:
		return "dialing"
	case Open:
		return "open"
	case LocalDone:
		return "local-done"
	case PeerDone:
		return "peer-done"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// Info is a stream as it was at one moment. Its methods act on the stream
// itself.
type Info struct {
	ID       uint64 // counts from 1 within a Registry
	Listener uint64 // identity of the listener that made it, 0 for none
	Protocol protocol.ID
	Peer     peer.ID
	// Direction says who opened the stream.
	Direction Direction
	State     State
	// Local is the far address of the local connection: the client's on the
	// dialling side, the target's on the serving side. Empty while dialling,
	// for a unix socket without a name, and for a net.Conn of the program.
	Local string
	// Remote is the peer's address of the libp2p connection underneath, nil
	// while dialling.
	Remote   ma.Multiaddr
	Opened   time.Time
	Age      time.Duration
	BytesIn  uint64 // from the peer
	BytesOut uint64 // to the peer

	stream *Stream
}

// Close resets the stream on both ends and waits for its goroutines. Closing a
// stream that has ended does nothing. It always returns nil.
func (i Info) Close() error {
	if i.stream != nil {
		i.stream.kill(ErrClosed)
		<-i.stream.done
	}
	return nil
}

// Done is closed when the stream has ended. Of the zero Info it is nil.
func (i Info) Done() <-chan struct{} {
	if i.stream == nil {
		return nil
	}
	return i.stream.done
}

// Err is why the stream ended: nil while it runs and after a clean end.
func (i Info) Err() error {
	if i.stream == nil {
		return nil
	}
	i.stream.mu.Lock()
	defer i.stream.mu.Unlock()
	return i.stream.err
}

// Match selects streams.
type Match func(Info) bool

// All matches every stream.
func All() Match { return func(Info) bool { return true } }

// ByID matches the stream of that identity.
func ByID(id uint64) Match { return func(i Info) bool { return i.ID == id } }

// ByProtocol matches the streams of a protocol.
func ByProtocol(p protocol.ID) Match { return func(i Info) bool { return i.Protocol == p } }

// ByPeer matches the streams with a peer.
func ByPeer(p peer.ID) Match { return func(i Info) bool { return i.Peer == p } }

// ByListener matches the streams of a listener.
func ByListener(id uint64) Match { return func(i Info) bool { return i.Listener == id } }

// ByLocal matches the streams whose local connection has that far address, as
// in Info.Local.
func ByLocal(addr string) Match { return func(i Info) bool { return i.Local == addr } }
