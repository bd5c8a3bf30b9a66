package p2p

import (
	"errors"
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/go-nebnet/nebnet/internal/neterr"
	"github.com/go-nebnet/nebnet/listener"
	"github.com/go-nebnet/nebnet/stream"
)

// All errors of tunnels. Errors of streams and listeners are those of the
// packages stream and listener, under the same names.
var (
	// ErrClosed is what a closed P2P, listener or stream returns. It matches
	// net.ErrClosed.
	ErrClosed = stream.ErrClosed
	// ErrProtocolTaken: this host serves the protocol already, by a tunnel or
	// by something else.
	ErrProtocolTaken = listener.ErrProtocolTaken
	// ErrProtocolName: the protocol name is not allowed. It must begin with
	// "/x/" unless WithCustomProtocols is given, have at most 256 bytes and no
	// control characters.
	ErrProtocolName = errors.New("protocol name not allowed")
	// ErrNotAdmitted: the listener does not admit the peer.
	ErrNotAdmitted = stream.ErrNotAdmitted
	// ErrNotServed: the remote peer does not serve the protocol.
	ErrNotServed = errors.New("remote peer does not serve the protocol")
	// ErrTargetRefused: the service at the far end did not take the
	// connection.
	ErrTargetRefused = stream.ErrTargetRefused
	// ErrTargetDenied is matched by every *TargetError: the rule does not
	// allow the target.
	ErrTargetDenied = errors.New("tunnel target not allowed")
	// ErrLimit is matched by every *stream.LimitError: too many streams.
	ErrLimit = stream.ErrLimit
	// ErrIdle: nothing moved on the stream for its idle timeout.
	ErrIdle = stream.ErrIdle
	// ErrStalled: the peer has finished sending and takes no more data.
	ErrStalled = stream.ErrStalled
	// ErrUnreachable: the remote peer could not be dialled, or does not answer a
	// check.
	ErrUnreachable = errors.New("remote peer unreachable")
	// ErrAddress: an address is of a kind that tunnels cannot use.
	ErrAddress = errors.New("address not usable for a tunnel")
)

// LimitError tells which limit. It matches ErrLimit.
type LimitError = stream.LimitError

// TunnelError is a tunnel of a configuration that cannot be made.
type TunnelError struct {
	Index  int // place in the list
	Tunnel Tunnel
	Err    error
}

func (e *TunnelError) Error() string {
	return fmt.Sprintf("tunnels[%d] (%s): %v", e.Index, e.Tunnel.Protocol, e.Err)
}

func (e *TunnelError) Unwrap() error { return e.Err }

// TargetError tells which target was denied. It matches ErrTargetDenied.
type TargetError struct{ Target Target }

func (e *TargetError) Error() string { return fmt.Sprintf("%v: %s", ErrTargetDenied, e.Target) }

// Is reports whether target is ErrTargetDenied.
func (e *TargetError) Is(target error) bool { return target == ErrTargetDenied }

// TunnelReason is the name under which the refusal is counted.
func (e *TargetError) TunnelReason() string { return "target_denied" }

// opError says which tunnel an error belongs to, and under which name it is
// counted.
type opError struct {
	op     string
	peer   peer.ID
	proto  protocol.ID
	reason string
	err    error
}

func (e *opError) Error() string {
	if e.peer == "" {
		return fmt.Sprintf("%s %s: %v", e.op, e.proto, e.err)
	}
	return fmt.Sprintf("%s %s at %s: %v", e.op, e.proto, e.peer, e.err)
}

func (e *opError) Unwrap() error        { return e.err }
func (e *opError) TunnelReason() string { return e.reason }

// Timeout makes an error that wraps a timeout a net.Error with Timeout.
func (e *opError) Timeout() bool { return neterr.IsTimeout(e.err) }

// Temporary is part of net.Error.
func (e *opError) Temporary() bool { return false }

var _ net.Error = (*opError)(nil)
