package listener

import (
	"errors"

	"github.com/go-nebnet/nebnet/stream"
)

var (
	// ErrClosed is what a closed listener or registry returns: stream.ErrClosed.
	// It matches net.ErrClosed.
	ErrClosed = stream.ErrClosed
	// ErrProtocolTaken is returned for a second listener on one protocol.
	ErrProtocolTaken = errors.New("protocol already has a listener")
)
