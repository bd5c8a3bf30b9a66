package p2phost

import (
	"errors"
	"fmt"

	ma "github.com/multiformats/go-multiaddr"
)

var (
	// ErrPSKTransport means that a private-network key is combined with a
	// transport that cannot use it: only TCP can.
	ErrPSKTransport = errors.New("private networks work over TCP only")
	// ErrTooManyConns is logged when a peer opens more connections than it may.
	ErrTooManyConns = errors.New("too many connections of one peer")
	// ErrNegotiating means that a peer's streams do not finish negotiating
	// their protocol, so that it gets no more of them for now.
	ErrNegotiating = errors.New("too many streams of one peer without a protocol")
	// ErrHandshakes means that too many connections from one network are in the
	// middle of their security handshake.
	ErrHandshakes = errors.New("too many unfinished handshakes from one network")
)

// ListenError tells which address could not be listened on. New joins one for
// each address that failed.
type ListenError struct {
	Addr ma.Multiaddr
	Err  error
}

func (e *ListenError) Error() string { return fmt.Sprintf("listen on %s: %v", e.Addr, e.Err) }
func (e *ListenError) Unwrap() error { return e.Err }
