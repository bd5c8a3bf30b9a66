package session

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/go-nebnet/nebnet/internal/handshake"
)

var (
	// ErrQueueFull means that the queue of the type, or of the peer, has no
	// room for the message now. The message was not taken.
	ErrQueueFull = errors.New("session: send queue is full")
	// ErrUnknownType means that the message type is not declared here.
	ErrUnknownType = errors.New("session: message type is not declared")
	// ErrUnsupported means that the peer does not understand the message type.
	ErrUnsupported = errors.New("session: peer does not support the message type")
	// ErrDeclared means that a type of that name is declared already.
	ErrDeclared = errors.New("session: message type is declared already")
	// ErrClosed means that the engine is closed. It matches net.ErrClosed.
	ErrClosed = fmt.Errorf("session: engine is %w", net.ErrClosed)
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
	return fmt.Sprintf("session: closed%s: %s", by, e.Reason)
}

// Unwrap gives net.ErrClosed and the reason.
func (e *ClosedError) Unwrap() []error { return []error{net.ErrClosed, e.Reason} }

// TooLargeError is a message that exceeds the maximum of its type.
type TooLargeError struct {
	Type      string
	Size, Max int
}

// ErrTooLarge is what a *TooLargeError matches with errors.Is.
var ErrTooLarge = errors.New("session: message is too large")

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("session: message of %d bytes exceeds the %d of type %s", e.Size, e.Max, e.Type)
}

// Is matches ErrTooLarge.
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// TypeError is a TypeSpec that cannot be declared.
type TypeError struct {
	Name     string
	Problems string
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("session: declare message type: %s", e.Problems)
}

// StuckError is what Engine.Close returns when deliveries or streams did not
// end in time.
type StuckError struct {
	// Types are the message types whose Deliver callback has not returned.
	Types []string
	Err   error // why Close stopped waiting
}

func (e *StuckError) Error() string {
	if len(e.Types) == 0 {
		return fmt.Sprintf("session: streams did not end: %v", e.Err)
	}
	return fmt.Sprintf("session: deliveries did not return: %q: %v", e.Types, e.Err)
}

func (e *StuckError) Unwrap() error { return e.Err }

// FullError is a Send whose context ended while it waited for room. It matches
// ErrQueueFull and what ended the context.
type FullError struct{ Err error }

func (e *FullError) Error() string { return ErrQueueFull.Error() + ": " + e.Err.Error() }

// Unwrap gives ErrQueueFull and what ended the context.
func (e *FullError) Unwrap() []error { return []error{ErrQueueFull, e.Err} }

// Timeout tells whether a deadline ended the wait.
func (e *FullError) Timeout() bool { return errors.Is(e.Err, context.DeadlineExceeded) }

// Temporary is there for net.Error only.
func (e *FullError) Temporary() bool { return true }
