package reqresp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/go-nebnet/nebnet/internal/neterr"
)

// Code says why a call failed. It travels from peer to peer, and is an error, so
// that errors.Is finds it in an *Error.
type Code uint8

// The codes. Those from FirstAppCode on are the application's own.
const (
	NotFound    Code = 1
	Busy        Code = 2 // too many calls at once, or too fast; see Error.RetryAfter
	BadRequest  Code = 3 // also: a request that does not decode
	TooLarge    Code = 4
	Unsupported Code = 5 // the peer does not serve the method
	Internal    Code = 6 // the handler failed or panicked; no more is told
	Timeout     Code = 7 // the deadline passed while the handler ran

	FirstAppCode Code = 128
)

var codeTexts = [...]string{NotFound: "not found", Busy: "busy", BadRequest: "bad request", TooLarge: "too large",
	Unsupported: "unsupported", Internal: "internal error", Timeout: "timeout"}

func (c Code) Error() string {
	if int(c) < len(codeTexts) && c > 0 {
		return codeTexts[c]
	}
	return "code " + strconv.Itoa(int(c))
}

// Is makes Timeout the same as a deadline that passed here.
func (c Code) Is(target error) bool { return c == Timeout && target == context.DeadlineExceeded }

// label is the code in metrics.
func (c Code) label() string {
	switch {
	case c >= FirstAppCode:
		return "application"
	case int(c) < len(codeTexts) && c > 0:
		return [...]string{NotFound: "not_found", Busy: "busy", BadRequest: "bad_request", TooLarge: "too_large",
			Unsupported: "unsupported", Internal: "internal", Timeout: "timeout"}[c]
	}
	return "other"
}

// Error is the failure of a call that a peer, or a limit of this node, decided.
// It matches its Code and is a net.Error.
type Error struct {
	Peer   peer.ID // who answered, or would have been asked
	Method string
	Code   Code
	// RetryAfter is, with Busy, when another try may be worth while; 0 is unknown.
	RetryAfter time.Duration
	// Text is for people; of a peer's it is cleaned, and has at most 128 bytes.
	Text string
	// Local: this node decided, and the peer was not asked.
	Local bool
}

func (e *Error) Error() string {
	s := "call"
	if e.Method != "" {
		s = "call " + e.Method
	}
	if e.Peer != "" {
		s += " of " + e.Peer.String()
	}
	s += ": " + e.Code.Error()
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Unwrap returns the code.
func (e *Error) Unwrap() error { return e.Code }

// Timeout and Temporary are those of net.Error.
func (e *Error) Timeout() bool   { return e.Code == Timeout }
func (e *Error) Temporary() bool { return e.Code == Busy || e.Code == Timeout }

// TransportError is the failure of a call that nobody decided: there was no
// session, or it ended, or no answer came in time. Whether the peer's handler ran
// is not known, unless Unsent.
type TransportError struct {
	Peer   peer.ID
	Method string
	Unsent bool // the request was not sent
	Err    error
}

func (e *TransportError) Error() string {
	return fmt.Sprintf("call %s of %s: %v", e.Method, e.Peer, e.Err)
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// Timeout tells whether no answer came in time.
func (e *TransportError) Timeout() bool { return neterr.IsTimeout(e.Err) }

// Temporary is for net.Error.
func (e *TransportError) Temporary() bool { return e.Timeout() }

// Errors of this node.
var (
	// ErrClosed: the engine was closed.
	ErrClosed = fmt.Errorf("closed: %w", net.ErrClosed)
	// ErrNoSession: there is no session with the peer.
	ErrNoSession = errors.New("no session with this peer")
	// ErrEnded: the session ended, or the peer closed the stream.
	ErrEnded = fmt.Errorf("ended: %w", net.ErrClosed)
	// ErrServed: the method has a handler already.
	ErrServed = errors.New("the method has a handler already")
	// ErrNoAnswer: the peer ended the call without the answer that it owes.
	ErrNoAnswer = errors.New("no answer")
)

// refusal is what a handler's error becomes on the wire. Only the text of an
// *Error travels: other errors may tell what is nobody's business.
func refusal(err error) (Code, time.Duration, string) {
	if e, ok := errors.AsType[*Error](err); ok && e.Code != 0 && e.Peer == "" {
		return e.Code, e.RetryAfter, e.Text
	}
	if c, ok := errors.AsType[Code](err); ok && c != 0 {
		return c, 0, ""
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Timeout, 0, ""
	}
	return Internal, 0, ""
}
