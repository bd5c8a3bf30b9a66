package netservice

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-nebnet/nebnet/internal/reqresp"
)

// ErrorCode says why a call failed. It travels from peer to peer and is an error:
// handlers return it, and errors.Is finds it in what the caller gets.
type ErrorCode = reqresp.Code

// The codes. Those from FirstAppCode to 255 are the application's own.
const (
	ErrNotFound     = reqresp.NotFound
	ErrBusy         = reqresp.Busy
	ErrBadRequest   = reqresp.BadRequest
	ErrInternal     = reqresp.Internal // the peer's handler failed; no more is told
	CodeTooLarge    = reqresp.TooLarge // matches ErrTooLarge
	CodeUnsupported = reqresp.Unsupported
	CodeTimeout     = reqresp.Timeout // matches context.DeadlineExceeded
	FirstAppCode    = reqresp.FirstAppCode
)

// RequestError is the failure of a call that a peer, or a limit of this node,
// decided. A handler returns one to tell its caller more than a code.
type RequestError = reqresp.Error

// TransportError is the failure of a call that nobody decided: there was no
// session, or it ended, or no answer came in time.
type TransportError = reqresp.TransportError

// ErrBadAnswer: an answer does not decode, or was not accepted.
var ErrBadAnswer = errors.New("netservice: bad answer")

// Refuse is an error for handlers: a code with a text for people, of at most 128
// bytes, which the caller gets to see.
func Refuse(code ErrorCode, text string) error { return &RequestError{Code: code, Text: text} }

// RetryLater is ErrBusy for handlers, with the time after which to try again.
func RetryLater(after time.Duration) error {
	return &RequestError{Code: ErrBusy, RetryAfter: after}
}

// handlerError gives errors of this package that a handler returns their codes.
func handlerError(err error) error {
	switch {
	case errors.Is(err, ErrTooLarge):
		return fmt.Errorf("%w: %w", CodeTooLarge, err)
	case errors.Is(err, ErrUnsupported):
		return fmt.Errorf("%w: %w", CodeUnsupported, err)
	}
	return err
}

// codeCause gives codes the errors that this package has for the same.
func codeCause(c ErrorCode) error {
	switch c {
	case CodeTooLarge:
		return ErrTooLarge
	case CodeUnsupported:
		return ErrUnsupported
	}
	return nil
}

// requestError gives errors of the engine the names of this package.
func requestError(err error) error {
	switch {
	case errors.Is(err, reqresp.ErrClosed):
		return fmt.Errorf("%w: %w", ErrStopped, err)
	case errors.Is(err, reqresp.ErrServed):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case errors.Is(err, reqresp.ErrNoSession):
		if t, ok := errors.AsType[*TransportError](err); ok {
			named := *t
			named.Err = ErrUnknownPeer
			return &named
		}
	}
	if c, ok := errors.AsType[*reqresp.ConfigError](err); ok {
		return &ConfigError{Field: c.Field, Err: c.Err}
	}
	return err
}
