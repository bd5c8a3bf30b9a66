// Package neterr tells what errors of the network mean, whichever library they come from.
package neterr

import (
	"context"
	"errors"
	"net"
	"os"
)

// IsTimeout tells whether time ran out: the deadline of a connection, of a stream or of a
// context. The first net.Error that an error wraps may say no although the cause of it
// is a deadline: that of libp2p for a dial does.
func IsTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
