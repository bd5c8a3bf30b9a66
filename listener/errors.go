package listener

import (
	"errors"
	"net"
)

var (
	// ErrClosed is what a closed listener or registry returns. It matches
	// net.ErrClosed.
	ErrClosed error = closedError("tunnel listener closed")
	// ErrProtocolTaken is returned for a second listener on one protocol.
	ErrProtocolTaken = errors.New("protocol already has a listener")
)

type closedError string

func (e closedError) Error() string        { return string(e) }
func (e closedError) Is(target error) bool { return target == net.ErrClosed }
