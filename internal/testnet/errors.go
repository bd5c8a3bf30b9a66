package testnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// ErrNodeDown is what a node's own calls return after Crash, and what the
// transports and connections made before a Crash or Kill return for ever. It
// matches net.ErrClosed.
var ErrNodeDown = fmt.Errorf("testnet: node is down: %w", net.ErrClosed)

// ErrForeignAddress is returned when a node's transport is asked to listen on
// an address of another node.
var ErrForeignAddress = fmt.Errorf("testnet: not an address of this node: %w", syscall.EADDRNOTAVAIL)

// The errors of a connection are those of a real TCP: io.EOF as it is, all
// others in a *net.OpError round one of these.
var (
	errClosed   = net.ErrClosed
	errTimeout  = os.ErrDeadlineExceeded
	errReset    = syscall.ECONNRESET
	errPipe     = syscall.EPIPE
	errRefused  = syscall.ECONNREFUSED
	errTimedOut = syscall.ETIMEDOUT
	errInUse    = syscall.EADDRINUSE
)

func opError(op string, src, dst netip.AddrPort, err error) error {
	e := &net.OpError{Op: op, Net: "tcp", Err: err}
	if src.IsValid() {
		e.Source = net.TCPAddrFromAddrPort(src)
	}
	if dst.IsValid() {
		e.Addr = net.TCPAddrFromAddrPort(dst)
	}
	return e
}
