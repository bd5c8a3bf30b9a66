package netservice

import (
	"errors"
	"fmt"
	"slices"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/go-nebnet/nebnet/dispatcher"
	"github.com/go-nebnet/nebnet/internal/gossip"
	"github.com/go-nebnet/nebnet/internal/identity"
	"github.com/go-nebnet/nebnet/internal/neterr"
	"github.com/go-nebnet/nebnet/internal/p2phost"
	"github.com/go-nebnet/nebnet/internal/session"
)

// Errors of the life cycle, those of package dispatcher where it has one. ErrStopped
// matches net.ErrClosed. ErrHostTaken: the host of WithHost carries another service, or
// a pubsub of the program's own.
var (
	ErrNotStarted     = dispatcher.ErrNotStarted
	ErrAlreadyStarted = dispatcher.ErrStarted
	ErrHostTaken      = errors.New("the host is taken")
	ErrStopped        = dispatcher.ErrClosed
	// ErrStopInHandler: Stop was called by code that it would wait for.
	ErrStopInHandler = dispatcher.ErrStopInHandler
)

// ErrPayloadTooLarge: what WithPayload gave does not fit the hello.
var ErrPayloadTooLarge = errors.New("payload of the handshake too large")

// Errors of sending.
var (
	// ErrNoPeers: there was nobody to send to.
	ErrNoPeers = errors.New("no peers")
	// ErrDuplicate: the same message was broadcast within two minutes.
	ErrDuplicate = gossip.ErrDuplicate
	// ErrRejected: the type's validator does not accept the message.
	ErrRejected = errors.New("the validator of the type does not accept the message")
	// ErrHeader: the type's Headers.Make gave no header for the broadcast, or one of more
	// than 4 KiB.
	ErrHeader = errors.New("no header for the broadcast")
	// ErrNoBroadcast: the type is declared with MessageSpec.NoBroadcast.
	ErrNoBroadcast = errors.New("messages of this type are not broadcast (MessageSpec.NoBroadcast)")
	// ErrUnknownPeer: there is no session with that peer.
	ErrUnknownPeer = errors.New("no session with this peer")
	// ErrTooLarge: the payload is above the limit of its type, or above what the
	// peer takes.
	ErrTooLarge = session.ErrTooLarge
	// ErrQueueFull: a bounded queue has no room: that to a peer, or that of the
	// dispatcher, whose ErrQueueFull it is.
	ErrQueueFull = dispatcher.ErrQueueFull
	// ErrUnsupported: the peer does not take messages of this type now. Peers tell
	// each other what they take before a session is there, and at each change.
	ErrUnsupported = session.ErrUnsupported
	// ErrTooManyTypes: peers can be told of 4,096 message types and methods, and of
	// 256 KiB of names and properties, and this one is beyond. Declare, Register
	// and the first use of a type return it.
	ErrTooManyTypes = session.ErrTooManyOffers
	// ErrConflict: a type was declared before with other properties, or its
	// GossipSpec.Topic is another type's.
	ErrConflict = errors.New("message type conflicts with an earlier declaration")
)

// Errors of the key file in DataDir and of PSKFile, wrapped with the path.
// Config.InsecureKey lifts the last three.
var (
	ErrKeyCorrupt     = identity.ErrCorrupt
	ErrKeyType        = identity.ErrKeyType    // not an Ed25519 key; also of WithIdentity
	ErrKeyNotRegular  = identity.ErrNotRegular // a directory, device, pipe or socket
	ErrKeyPermissions = identity.ErrPermissions
	ErrKeyOwner       = identity.ErrOwner
	ErrKeySymlink     = identity.ErrSymlink
)

// DataDirInUseError tells that another service, of this process or another one, has
// Config.DataDir. Start returns it.
type DataDirInUseError struct {
	Dir string
	PID int // of the process that has it, 0 where that is not known
	err error
}

func (e *DataDirInUseError) Error() string { return e.err.Error() }

// alsoError is an error that matches another one as well, and says so once: the
// parts below have errors of their own for what has a name in this package.
type alsoError struct {
	error
	also error
}

func also(err, as error) error { return &alsoError{error: err, also: as} }

// Is matches what it is in this package.
func (e *alsoError) Is(target error) bool { return errors.Is(e.also, target) }

// Unwrap gives the error of the part below.
func (e *alsoError) Unwrap() error { return e.error }

// ConfigError is one mistake in a Config.
type ConfigError struct {
	Field string // the field's Go name, with an index for lists
	Err   error
}

func (e *ConfigError) Error() string { return "config: " + e.Field + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ListenError names an address on which the node could not listen. Start joins one
// for each.
type ListenError struct {
	Addr ma.Multiaddr
	Err  error
}

func (e *ListenError) Error() string { return fmt.Sprintf("listen on %s: %v", e.Addr, e.Err) }

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// listenErrors gives the errors of the host the types of this package.
func listenErrors(err error) error {
	var errs []error
	for _, err := range split(err) {
		if e, ok := errors.AsType[*p2phost.ListenError](err); ok {
			err = &ListenError{Addr: e.Addr, Err: e.Err}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// StopError is what Stop returns if something has not ended in time, or has failed. It
// is a net.Error.
type StopError struct {
	// Parts has an error for each part of the service that has not ended, or has failed,
	// and none for those that have only waited for another one. That of the subscribers
	// wraps a *dispatcher.UndeliveredError.
	Parts []error
}

func (e *StopError) Error() string {
	return "stop: " + errors.Join(e.Parts...).Error()
}

// Unwrap returns the errors of the parts.
func (e *StopError) Unwrap() []error { return e.Parts }

// Timeout tells whether a part ran out of time.
func (e *StopError) Timeout() bool {
	return slices.ContainsFunc(e.Parts, neterr.IsTimeout)
}

// Temporary is false: a service that was stopped stays stopped.
func (e *StopError) Temporary() bool { return false }
