package netservice

import (
	"context"
	"fmt"

	"github.com/go-nebnet/nebnet/internal/lifecycle"
)

// Of the time that Stop has, what comes last keeps a share for itself, however
// long what comes before it takes.
const (
	dispatchersShare = 4 // a fourth for the subscribers to take what has arrived
	hostsShare       = 8 // of the rest, an eighth for libp2p to close
	partsShare       = 2 // of what is left, half for the parts after one that does not end
)

// part is one of what Stop ends.
type part struct {
	name string
	// end tells it to end and waits for it, until ctx ends: an error then says what of
	// its own has not ended.
	end func(ctx context.Context) error
}

// waited is the end of a part that takes no context.
func waited(end func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		var err error
		if !lifecycle.Ended(ctx, lifecycle.Go(func() { err = end() })) {
			return ctx.Err()
		}
		return err
	}
}

// endAll ends parts in their order. One that does not end in half of the time that is
// left is waited for beside those that come after it: so each of them has time for
// itself, and is not taken for stuck because another one is.
func endAll(ctx context.Context, parts []part) (errs []error) {
	ends := make([]<-chan struct{}, len(parts))
	results := make([]error, len(parts))
	for i, p := range parts {
		ends[i] = lifecycle.Go(func() { results[i] = p.end(ctx) })
		patience, cancel := lifecycle.Share(ctx, partsShare)
		lifecycle.Ended(patience, ends[i])
		cancel()
	}
	for i, p := range parts {
		<-ends[i] // by the end of ctx
		if results[i] != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, results[i]))
		}
	}
	return errs
}
