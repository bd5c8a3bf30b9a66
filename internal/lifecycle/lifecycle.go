// Package lifecycle is how whoever closes something waits for its goroutines, but not
// for ever, and how a goroutine waits that may be closed.
//
//	func (e *Engine) Close(ctx context.Context) error {
//		e.cancel()
//		if !lifecycle.Ended(ctx, lifecycle.Go(e.wg.Wait)) {
//			return fmt.Errorf("callbacks have not returned: %w", ctx.Err())
//		}
//		return nil
//	}
package lifecycle

import (
	"context"
	"time"
)

// Go runs f in a goroutine. The channel is closed when f has returned.
func Go(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// Ended waits until done is closed, or until ctx ends, and reports whether done is
// closed. Where both have happened it is true: nobody is blamed for an end in time.
func Ended(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return IsClosed(done)
	}
}

// IsClosed reports whether done is closed. Nothing is ever sent on it.
func IsClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Sleep waits for d, at most until ctx ends, and reports whether ctx goes on.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Share returns a context that ends before ctx, by the nth part of the time that is
// left, which what comes afterwards has for itself. Without a deadline it is ctx's.
func Share(ctx context.Context, n time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/n))
}
