package handshake

import (
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/quic-go/quic-go"

	"github.com/go-nebnet/nebnet/internal/multistream"
	"github.com/go-nebnet/nebnet/internal/neterr"
	"github.com/go-nebnet/nebnet/internal/obs"
)

// RefusedError is a handshake that one of the two sides refused. It matches
// its Reason and its cause with errors.Is.
type RefusedError struct {
	// Reason is what was said on the wire.
	Reason Reason
	// ByRemote tells whether the other side refused.
	ByRemote bool
	// Remote is what the other side said of itself, the zero Hello where it
	// said nothing.
	Remote Hello
	// Text is the refusing application's, cleaned and at most 128 bytes.
	Text string
	// Err is what verify returned, nil when nothing else is known.
	Err error
}

// Refusal is what verify returns to tell the other side more than a reason.
type Refusal struct {
	Reason Reason
	Text   string // at most 128 bytes are sent, cleaned
	Err    error  // what it stands for here, or nil
}

func (e *Refusal) Error() string {
	if e.Text == "" {
		return e.Reason.String()
	}
	return e.Text
}

// Unwrap gives the reason and the cause.
func (e *Refusal) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

func (e *RefusedError) Error() string {
	who := "refused"
	if e.ByRemote {
		who = "refused by peer"
	}
	switch e.Reason {
	case ReasonWrongChain:
		return fmt.Sprintf("%s: %s: peer is on %q", who, e.Reason, obs.Clean(e.Remote.ChainID))
	case ReasonWrongGenesis:
		return fmt.Sprintf("%s: %s: peer has %x", who, e.Reason, e.Remote.Genesis)
	case ReasonWrongVersion:
		return fmt.Sprintf("%s: %s: peer speaks %d to %d", who, e.Reason, e.Remote.VersionMin, e.Remote.VersionMax)
	}
	if e.Text != "" {
		return fmt.Sprintf("%s: %s: %q", who, e.Reason, e.Text)
	}
	if e.Err != nil && e.Err != error(e.Reason) {
		return fmt.Sprintf("%s: %s: %v", who, e.Reason, e.Err)
	}
	return fmt.Sprintf("%s: %s", who, e.Reason)
}

// Unwrap gives the reason and the cause.
func (e *RefusedError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

// FailedError is a handshake that neither side refused: time ran out, the
// stream broke, or the other side violated the protocol. It matches its Reason
// and its cause with errors.Is, and is a net.Error.
type FailedError struct {
	Op     string // "read hello", "write accept"
	Reason Reason // ReasonTimeout, ReasonProtocol, ReasonTransportLost, ReasonTooManyPeers of HostFull, or that of the cancelled context
	Err    error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.Op, e.Reason, e.Err)
}

// Unwrap gives the reason and the cause.
func (e *FailedError) Unwrap() []error { return []error{e.Reason, e.Err} }

// Timeout tells whether the time of the exchange ran out.
func (e *FailedError) Timeout() bool { return e.Reason.Timeout() }

// Temporary is there for net.Error only.
func (e *FailedError) Temporary() bool { return e.Reason.Temporary() }

// PanicError is a verify callback that panicked; the handshake was refused
// with ReasonApplication.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("check panicked: %v", e.Value) }

// protocolError is a violation of the wire format.
type protocolError string

func (e protocolError) Error() string { return string(e) }

func protocolErrorf(format string, args ...any) error {
	return protocolError(fmt.Sprintf(format, args...))
}

// ReasonOf finds the reason in an error of a handshake or of opening its
// stream: the Reason it wraps, else ReasonNotNebnet for a failed protocol
// negotiation, ReasonTooManyPeers for a connection that the peer's host closed
// for its limits, ReasonTimeout for a timeout, ReasonTransportLost for the rest
// and ReasonNone for nil.
func ReasonOf(err error) Reason {
	if err == nil {
		return ReasonNone
	}
	if r, ok := errors.AsType[Reason](err); ok {
		return r
	}
	if _, ok := errors.AsType[protocolError](err); ok {
		return ReasonProtocol
	}
	if multistream.NotSupported(err) {
		return ReasonNotNebnet
	}
	if HostFull(err) {
		return ReasonTooManyPeers
	}
	if neterr.IsTimeout(err) {
		return ReasonTimeout
	}
	return ReasonTransportLost
}

// HostFull tells whether the other side's host closed the connection for its own
// limits, before there was a handshake. QUIC has a code for that; over TCP it is a
// connection that is lost.
func HostFull(err error) bool {
	if c, ok := errors.AsType[*network.ConnError](err); ok {
		return c.Remote && c.ErrorCode == network.ConnResourceLimitExceeded
	}
	// A dial that is cut off at its very end fails with the error of QUIC itself.
	q, ok := errors.AsType[*quic.ApplicationError](err)
	return ok && q.Remote && network.ConnErrorCode(q.ErrorCode) == network.ConnResourceLimitExceeded
}

// ByRemote tells whether it was the other side that did not want: it refused, or its
// host was full.
func ByRemote(err error) bool {
	refused, ok := errors.AsType[*RefusedError](err)
	return ok && refused.ByRemote || HostFull(err)
}
