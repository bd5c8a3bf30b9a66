package netservice

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/reqresp"
	"github.com/go-nebnet/nebnet/internal/setting"
)

// ErrorCode says why a call failed. It travels from peer to peer and is an error:
// handlers return it, and errors.Is finds it in what the caller gets.
type ErrorCode uint8

// The codes. Those from FirstAppCode to 255 are the application's own.
const (
	ErrNotFound     = ErrorCode(1)
	ErrBusy         = ErrorCode(2) // too many calls at once, or too fast
	ErrBadRequest   = ErrorCode(3) // also one that does not decode
	CodeTooLarge    = ErrorCode(4) // matches ErrTooLarge
	CodeUnsupported = ErrorCode(5) // matches ErrUnsupported
	ErrInternal     = ErrorCode(6) // the peer's handler failed; no more is told
	CodeTimeout     = ErrorCode(7) // matches context.DeadlineExceeded
	FirstAppCode    = ErrorCode(128)
)

func (c ErrorCode) Error() string { return reqresp.Code(c).Error() }

// Is makes codes the same as this package's errors for the same.
func (c ErrorCode) Is(target error) bool {
	switch c {
	case CodeTooLarge:
		return target == ErrTooLarge
	case CodeUnsupported:
		return target == ErrUnsupported
	case CodeTimeout:
		return target == context.DeadlineExceeded
	}
	return false
}

// RequestError is the failure of a call that a peer, or a limit of this node,
// decided. It matches its Code, and is a net.Error. A handler returns one to tell
// its caller more than a code.
type RequestError struct {
	Peer   peer.ID // who answered, or would have been asked; empty from a handler
	Method string
	Code   ErrorCode
	// RetryAfter is, with ErrBusy, when another try may be worth while; 0 is not
	// known.
	RetryAfter time.Duration
	// Text is for people, at most 128 bytes. A peer's is cleaned.
	Text string
	// Local: this node decided, and the peer was not asked.
	Local bool
}

func (e *RequestError) Error() string { return e.engines().Error() }

// Unwrap returns the code.
func (e *RequestError) Unwrap() error { return e.Code }

// Timeout and Temporary are those of net.Error.
func (e *RequestError) Timeout() bool   { return e.Code == CodeTimeout }
func (e *RequestError) Temporary() bool { return e.Code == ErrBusy || e.Code == CodeTimeout }

func (e *RequestError) engines() *reqresp.Error {
	return &reqresp.Error{Peer: e.Peer, Method: e.Method, Code: reqresp.Code(e.Code), RetryAfter: e.RetryAfter, Text: e.Text, Local: e.Local}
}

// TransportError is the failure of a call that nobody decided: there was no
// session, or it ended, or no answer came in time. It is a net.Error. Whether the
// peer's handler ran is not known, unless Unsent.
type TransportError struct {
	Peer   peer.ID
	Method string
	Unsent bool // the request was not sent
	Err    error
}

func (e *TransportError) Error() string { return (*reqresp.TransportError)(e).Error() }

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Timeout tells whether no answer came in time.
func (e *TransportError) Timeout() bool { return (*reqresp.TransportError)(e).Timeout() }

// Temporary is for net.Error.
func (e *TransportError) Temporary() bool { return e.Timeout() }

// ErrBadAnswer: an answer does not decode, or was not accepted.
var ErrBadAnswer = errors.New("bad answer")

// Refuse is an error for handlers: a code with a text for people, of at most 128
// bytes, which the caller gets to see.
func Refuse(code ErrorCode, text string) error { return &RequestError{Code: code, Text: text} }

// RetryLater is ErrBusy for handlers, with the time after which to try again.
func RetryLater(after time.Duration) error {
	return &RequestError{Code: ErrBusy, RetryAfter: after}
}

// handlerError gives errors that a handler returns the names of the engine. What is
// none of this package's is only seen by the log.
func handlerError(err error) error {
	if e, ok := errors.AsType[*RequestError](err); ok && e.Peer == "" && e.Code != 0 {
		return e.engines()
	}
	if c, ok := errors.AsType[ErrorCode](err); ok && c != 0 {
		return reqresp.Code(c)
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return reqresp.TooLarge
	case errors.Is(err, ErrUnsupported):
		return reqresp.Unsupported
	}
	return err
}

// requestError gives errors of the engine the names of this package.
func requestError(err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *reqresp.Error:
		return &RequestError{Peer: e.Peer, Method: e.Method, Code: ErrorCode(e.Code), RetryAfter: e.RetryAfter, Text: e.Text, Local: e.Local}
	case *reqresp.TransportError:
		t := TransportError(*e)
		switch {
		case errors.Is(e.Err, reqresp.ErrNoSession):
			t.Err = ErrUnknownPeer
		case errors.Is(e.Err, reqresp.ErrClosed):
			t.Err = ErrStopped
		}
		return &t
	case *setting.Error:
		return (*ConfigError)(e)
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, requestError(one))
		}
		return errors.Join(all...)
	}
	switch {
	case errors.Is(err, reqresp.ErrClosed):
		return ErrStopped
	case errors.Is(err, reqresp.ErrServed):
		return also(err, ErrConflict)
	}
	return err
}
