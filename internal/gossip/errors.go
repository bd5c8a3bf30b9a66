package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/go-nebnet/nebnet/dispatcher"
)

// Errors of this package, to be tested with errors.Is.
var (
	// ErrClosed is returned once Close has begun. It matches net.ErrClosed.
	ErrClosed = fmt.Errorf("engine closed: %w", net.ErrClosed)
	// ErrNotStarted is returned by Publish and Relay before Start.
	ErrNotStarted = errors.New("engine not started")
	// ErrStarted is returned by a second Start.
	ErrStarted = errors.New("engine already started")
	// ErrNotDeclared means that the message type was never declared, or is not
	// broadcast.
	ErrNotDeclared = errors.New("message type not declared")
	// ErrTopicTaken means that another message type has the topic.
	ErrTopicTaken = errors.New("topic of another message type")
	// ErrTooLarge means that a message is above its type's Broadcast.MaxPublish, or
	// larger than any of the peers that are there takes.
	ErrTooLarge = errors.New("message is too large")
	// ErrNoPeers means that nobody takes part in the topic, and that messages
	// are not queued until somebody does (Broadcast.PeerWait is negative).
	ErrNoPeers = errors.New("no peers in topic")
	// ErrQueueFull means that the message could be put neither in a peer's
	// queue nor among those that wait for the first peer.
	ErrQueueFull = dispatcher.ErrQueueFull
	// ErrDuplicate means that the same message was published or relayed within
	// SeenTTL: it was not sent again. Only content IDs can collide so.
	ErrDuplicate = errors.New("message already published")
	// ErrFull is what a Deliver function returns when a message found no space.
	// Any other error of Deliver has the same effect under another reason.
	ErrFull = errors.New("subscriber full")
)

// A CloseError says what had not ended when Close gave up.
type CloseError struct {
	What []string // types whose validators or deliveries run on, "streams", "calls"
	Err  error    // the context's
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("close: still running: %v: %v", e.What, e.Err)
}

// Unwrap returns the context's error.
func (e *CloseError) Unwrap() error { return e.Err }

// reasonOf is the reason for which a message is turned away that Deliver did
// not take.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, ErrFull):
		return awayFull
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return awayTimeout
	}
	return awayClosed
}
