package netservice

import (
	"context"
	"time"
)

// Of the time that Stop has, what comes last keeps a share for itself, however
// long what comes before it takes.
const (
	dispatchersShare = 4 // a fourth for the subscribers to take what has arrived
	hostsShare       = 8 // of the rest, an eighth for libp2p to close
	handlersShare    = 2 // of what is left, half for the sessions to say goodbye after handlers of requests
)

// share returns a context that ends one part in n earlier than ctx.
func share(ctx context.Context, n time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/n))
}

// within runs what takes no context, and waits for it until ctx ends.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // both at once
		return err
	default:
		return ctx.Err()
	}
}
