package dispatcher

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
)

// Errors that the dispatcher returns. Those of Register and Deregister come
// wrapped in a *SubscriberError, those of New in a *ConfigError.
var (
	// ErrClosed says that the dispatcher was stopped. It matches net.ErrClosed.
	ErrClosed error = closedError{}
	// ErrNotStarted says that a message was put before Start.
	ErrNotStarted = errors.New("not started")
	// ErrStarted says that Start was called twice.
	ErrStarted = errors.New("already started")
	// ErrQueueFull says that the inbox of the message's type is full, or a
	// lossless subscriber's queue. The message was not taken.
	ErrQueueFull = errors.New("queue full")
	// ErrNilMessage says that a message is nil.
	ErrNilMessage = errors.New("nil message")
	// ErrInvalidType says that a message type is not 1 to 64 bytes of
	// [A-Za-z0-9._-].
	ErrInvalidType = errors.New("invalid message type")
	// ErrNilSubscriber says that a subscriber is nil.
	ErrNilSubscriber = errors.New("nil subscriber")
	// ErrNilChannel says that a channel-backed subscriber has no channel.
	ErrNilChannel = errors.New("nil channel")
	// ErrNilHandler says that a handler has no function.
	ErrNilHandler = errors.New("nil handler function")
	// ErrInvalidID says that an ID is nil or cannot be compared.
	ErrInvalidID = errors.New("ID is nil or not comparable")
	// ErrInvalidOption says that a subscriber's options contradict each other
	// or are out of bounds.
	ErrInvalidOption = errors.New("invalid subscriber option")
	// ErrDuplicateSubscriber says that a subscriber of the same ID and message
	// type is registered already.
	ErrDuplicateSubscriber = errors.New("registered already")
	// ErrNotRegistered says that no subscriber of that ID and message type is
	// registered.
	ErrNotRegistered = errors.New("not registered")
	// ErrStopInHandler says that Stop was called by the code of one of the
	// dispatcher's own subscribers, which the error names, or with its context.
	ErrStopInHandler = errors.New("a handler cannot wait for Stop")
	// ErrSubscriberPanic says that a method of a subscriber panicked while it
	// was registered or deregistered, or that a hook did. The panic is counted
	// in Stats.Panics.
	ErrSubscriberPanic = errors.New("subscriber panicked")
)

type closedError struct{}

func (closedError) Error() string        { return "stopped" }
func (closedError) Is(target error) bool { return target == net.ErrClosed }

// SubscriberError says which subscriber could not be registered or
// deregistered, and why.
type SubscriberError struct {
	ID   any    // as the subscriber gave it; nil when it could not be asked
	Type string // as the subscriber gave it
	Err  error
}

func (e *SubscriberError) Error() string {
	if e.Err == ErrNilSubscriber {
		return e.Err.Error() // it has neither
	}
	return fmt.Sprintf("subscriber %s of type %.80q: %v", idText(e.ID), e.Type, e.Err)
}

// idText is at most 64 characters of an ID. It does not print what one points to:
// its owner may be writing there.
func idText(id any) string {
	if reflect.ValueOf(id).Kind() == reflect.Pointer {
		return fmt.Sprintf("%T", id)
	}
	return fmt.Sprintf("%.64s", fmt.Sprint(id))
}

// Unwrap returns the cause.
func (e *SubscriberError) Unwrap() error { return e.Err }

// ConfigError names the field of Config that is wrong. Validate joins one for
// every mistake.
type ConfigError struct {
	Field string
	Err   error
}

func (e *ConfigError) Error() string { return "config: " + e.Field + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// UndeliveredError is what Stop returns when its time ran out before
// everything was handed over. It is a net.Error whose Timeout is true.
type UndeliveredError struct {
	// Types counts, per message type, the hand-overs that did not happen: one
	// for each message and each subscriber that did not get it. They do not
	// happen later either. The same number is in Stats under the reason
	// DropStopped, once the code in Stuck has returned; what was in its hands
	// when Stop returned is not in Types.
	Types map[string]int
	// Stuck names the subscribers, as ID/type, whose code had not returned
	// when Stop did. Their goroutines end when that code returns.
	Stuck []string
}

func (e *UndeliveredError) Error() string {
	var b strings.Builder
	b.WriteString("stopped before everything was delivered")
	for _, t := range slices.Sorted(maps.Keys(e.Types)) {
		fmt.Fprintf(&b, "; %d of %s", e.Types[t], t)
	}
	if len(e.Stuck) > 0 {
		b.WriteString("; still running: ")
		b.WriteString(strings.Join(e.Stuck, ", "))
	}
	return b.String()
}

// Timeout is true: Stop ran out of time.
func (e *UndeliveredError) Timeout() bool { return true }

// Temporary is false: a stopped dispatcher stays stopped.
func (e *UndeliveredError) Temporary() bool { return false }
