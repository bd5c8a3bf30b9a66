package stream

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
)

var (
	// ErrClosed is why a stream ended that was closed from here, and what
	// closed listeners and tunnels return. It matches net.ErrClosed.
	ErrClosed error = closedError("tunnel closed")
	// ErrIdle is why a stream ended on which nothing moved for its idle
	// timeout. It is a net.Error with Timeout.
	ErrIdle error = timeoutError("tunnel stream idle for too long")
	// ErrStalled is why a stream ended whose peer had finished sending and took
	// no more data for the stall timeout: a peer that closed altogether, on a
	// transport that cannot say so. It is a net.Error with Timeout.
	ErrStalled error = timeoutError("tunnel peer takes no more data")
	// ErrNotAdmitted is why a stream was reset by a listener that names the
	// peers it admits.
	ErrNotAdmitted = errors.New("peer not admitted")
	// ErrTargetRefused is why a stream was reset when the service behind the
	// other end did not take the connection.
	ErrTargetRefused = errors.New("tunnel target refused the connection")
	// ErrLimit is matched by every *LimitError.
	ErrLimit = errors.New("stream limit reached")
)

// errConnLost is why a stream ended whose connection is gone.
var errConnLost = fmt.Errorf("connection to the tunnel's peer lost: %w", network.ErrReset)

// finished reports whether an error of reading from a stream is that the peer has
// finished sending. When the peer's host closes the connection, as the system does
// for a process that is killed, yamux resets its streams for a reason that wraps
// io.EOF, too.
func finished(err error) bool { return err == io.EOF }

// lost is what an error becomes that matches io.EOF although no stream has ended.
func lost(err error) error { return fmt.Errorf("%w: %v", errConnLost, err) }

// Scope says which limit a LimitError is about.
type Scope string

const (
	ScopeTotal       Scope = "total"        // all tunnels of this P2P together
	ScopePeer        Scope = "peer"         // one peer, in all tunnels of this P2P
	ScopeTunnel      Scope = "tunnel"       // one tunnel
	ScopeTunnelPeer  Scope = "tunnel-peer"  // one peer in one tunnel
	ScopeConnection  Scope = "connection"   // the streams of one QUIC connection
	ScopeResources   Scope = "resources"    // the host's own resource manager
	ScopeRemote      Scope = "remote"       // limits of the other side
	ScopeAcceptQueue Scope = "accept-queue" // connections nobody accepts
)

// LimitError tells that a stream was refused because there are too many. It
// matches ErrLimit.
type LimitError struct {
	Scope Scope
	Limit int // the number allowed, 0 when it is not known here

	setting string // what to change, where the program can
}

func (e *LimitError) Error() string {
	if e.Limit == 0 {
		return fmt.Sprintf("%v (%s)", ErrLimit, e.Scope)
	}
	if e.setting != "" {
		return fmt.Sprintf("%v (%s: %d, %s)", ErrLimit, e.Scope, e.Limit, e.setting)
	}
	return fmt.Sprintf("%v (%s: %d)", ErrLimit, e.Scope, e.Limit)
}

// Is reports whether target is ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// CodeTargetRefused is the code with which a stream is reset whose target
// refuses. Peers that know nothing of it see a plain reset.
const CodeTargetRefused network.StreamErrorCode = 0x4e01

// Explain gives a reset by the peer the meaning of its code, and takes io.EOF out of
// one whose connection was closed: no end of file has come. The error still matches
// network.ErrReset.
func Explain(err error) error {
	if errors.Is(err, network.ErrReset) && errors.Is(err, io.EOF) {
		return lost(err)
	}
	if why := reasonOf(err); why != nil {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}

// reasonOf is what the code of a reset by the peer means, nil where it says nothing or
// the error has been explained.
func reasonOf(err error) error {
	se, ok := errors.AsType[*network.StreamError](err)
	if !ok || !se.Remote || errors.Is(err, ErrNotAdmitted) || errors.Is(err, ErrLimit) || errors.Is(err, ErrTargetRefused) {
		return nil
	}
	switch se.ErrorCode {
	case network.StreamGated:
		return ErrNotAdmitted
	case network.StreamResourceLimitExceeded:
		return &LimitError{Scope: ScopeRemote}
	case CodeTargetRefused:
		return ErrTargetRefused
	}
	return nil
}

type closedError string

func (e closedError) Error() string        { return string(e) }
func (e closedError) Is(target error) bool { return target == net.ErrClosed }

type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }
