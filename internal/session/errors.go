package session

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/handshake"
	"github.com/libp2p/go-libp2p/core/peer"
)

var (
	// ErrQueueFull means that the queue of the type, or of the peer, has no
	// room for the message now. The message was not taken.
	ErrQueueFull = dispatcher.ErrQueueFull
	// ErrUnknownType means that the message type is not declared here.
	ErrUnknownType = errors.New("message type is not declared")
	// ErrUnsupported is what an *UnsupportedError matches with errors.Is.
	ErrUnsupported = errors.New("peer does not take messages of this type")
	// ErrTooManyOffers is what an *OffersError matches with errors.Is.
	ErrTooManyOffers = errors.New("too many message types and methods")
	// ErrClosed means that the engine is closed. It matches net.ErrClosed.
	ErrClosed = fmt.Errorf("engine is %w", net.ErrClosed)
)

// ClosedError is a send on a session that has ended. It matches net.ErrClosed
// and its Reason.
type ClosedError struct {
	Reason   handshake.Reason
	ByRemote bool
}

func (e *ClosedError) Error() string {
	by := ""
	if e.ByRemote {
		by = " by peer"
	}
	return fmt.Sprintf("closed%s: %s", by, e.Reason)
}

// Unwrap gives net.ErrClosed and the reason.
func (e *ClosedError) Unwrap() []error { return []error{net.ErrClosed, e.Reason} }

// UnsupportedError is a send of a type that the peer does not offer to take.
type UnsupportedError struct {
	Type string
	Peer peer.ID
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%v: %s, %s", ErrUnsupported, e.Type, e.Peer)
}

// Is matches ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// OffersError is a type or method that would make more than peers may be told
// of: MaxOffers, or MaxOfferBytes.
type OffersError struct{ Name string }

func (e *OffersError) Error() string {
	return fmt.Sprintf("%v: %s would be beyond %d of them, or %d bytes", ErrTooManyOffers, e.Name, MaxOffers, MaxOfferBytes)
}

// Is matches ErrTooManyOffers.
func (e *OffersError) Is(target error) bool { return target == ErrTooManyOffers }

// TooLargeError is a message that exceeds the maximum of its type: this node's
// own, or what a peer offers to take.
type TooLargeError struct {
	Type      string
	Size, Max int
	Peer      peer.ID // whose maximum it is; empty for this node's
}

// ErrTooLarge is what a *TooLargeError matches with errors.Is.
var ErrTooLarge = errors.New("message is too large")

func (e *TooLargeError) Error() string {
	whose := "MaxSize"
	if e.Peer != "" {
		whose = "the maximum of " + e.Peer.String()
	}
	return fmt.Sprintf("%v: %d bytes of type %s exceed %s, %d", ErrTooLarge, e.Size, e.Type, whose, e.Max)
}

// Is matches ErrTooLarge.
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// StuckError is what Engine.Close returns when deliveries or streams did not
// end in time.
type StuckError struct {
	// Types are the message types whose Deliver callback has not returned.
	Types []string
	Err   error // why Close stopped waiting
}

func (e *StuckError) Error() string {
	if len(e.Types) == 0 {
		return fmt.Sprintf("streams did not end: %v", e.Err)
	}
	return fmt.Sprintf("deliveries did not return: %q: %v", e.Types, e.Err)
}

func (e *StuckError) Unwrap() error { return e.Err }

// FullError is a Send whose context ended while it waited for room. It matches
// ErrQueueFull and what ended the context.
type FullError struct {
	Type                  string
	Peer                  peer.ID
	QueueBytes, PeerBytes int // the limits, of the type and of all that waits for the peer
	Err                   error
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%v: type %s for %s, MessageSpec.QueueBytes %d, Config.PeerQueueBytes %d: %v",
		ErrQueueFull, e.Type, e.Peer, e.QueueBytes, e.PeerBytes, e.Err)
}

// Unwrap gives ErrQueueFull and what ended the context.
func (e *FullError) Unwrap() []error { return []error{ErrQueueFull, e.Err} }

// Timeout tells whether a deadline ended the wait.
func (e *FullError) Timeout() bool { return errors.Is(e.Err, context.DeadlineExceeded) }

// Temporary is there for net.Error only.
func (e *FullError) Temporary() bool { return true }
