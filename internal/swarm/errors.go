package swarm

import (
	"errors"
	"fmt"
	"net"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrClosed is returned once Close has begun. It matches net.ErrClosed.
	ErrClosed = fmt.Errorf("swarm closed: %w", net.ErrClosed)
	// ErrTooLarge means that a message has, or may have, more than wire.MaxSize bytes.
	ErrTooLarge = errors.New("message is too large")
	// ErrHeader means that the application's header could not be made, or is longer
	// than 4 KiB.
	ErrHeader = errors.New("no header for the message")
	// ErrFull means that so many own messages are being spread that there is no memory
	// for one more.
	ErrFull = errors.New("too many large messages under way")
	// ErrStarted is returned by a second Start.
	ErrStarted = errors.New("swarm already started")
)
