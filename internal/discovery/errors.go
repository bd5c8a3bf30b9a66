package discovery

import (
	"errors"
	"fmt"
	"net"
)

var (
	// ErrClosed is returned after Close. It matches net.ErrClosed.
	ErrClosed = fmt.Errorf("%w", net.ErrClosed)
	// ErrStarted is returned by the second Start.
	ErrStarted = errors.New("already started")
)

// Fault is a way in which a peer violates the peer exchange protocol. It is
// counted under its name and, wrapped in an error with the details, given to
// Config.Penalise; errors.As finds it there.
type Fault uint8

// The faults.
const (
	FaultOversize  Fault = iota + 1 // a frame or record longer than allowed
	FaultMalformed                  // bytes that are no frame or message
	FaultTruncated                  // a stream closed in the middle of a frame
	FaultCount                      // more records than were asked for, or one peer twice
	FaultRecord                     // a record that is not validly signed by its peer
	FaultTrailing                   // bytes after the reply
)

var faultNames = [...]string{"none", "oversize", "malformed", "truncated", "count", "record", "trailing"}

func (f Fault) String() string {
	if int(f) < len(faultNames) {
		return faultNames[f]
	}
	return fmt.Sprintf("fault %d", uint8(f))
}

// Error makes a Fault an error.
func (f Fault) Error() string { return "discovery: peer violates the exchange: " + f.String() }

// faultf returns an error that is f and says more.
func faultf(f Fault, format string, args ...any) error {
	return fmt.Errorf("%w: %s", f, fmt.Sprintf(format, args...))
}
