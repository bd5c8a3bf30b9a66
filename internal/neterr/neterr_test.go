package neterr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
)

// refused is a net.Error that wraps what it was caused by, and says no.
type refused struct{ error }

func (refused) Timeout() bool   { return false }
func (refused) Temporary() bool { return false }
func (r refused) Unwrap() error { return r.error }

func TestIsTimeout(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                             false,
		io.EOF:                          false,
		net.ErrClosed:                   false,
		context.Canceled:                false,
		refused{io.EOF}:                 false,
		context.DeadlineExceeded:        true,
		os.ErrDeadlineExceeded:          true,
		refused{os.ErrDeadlineExceeded}: true,
		&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}: true,
		&net.DNSError{IsTimeout: true}:                        true,
	} {
		if got := IsTimeout(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
		if err == nil {
			continue
		}
		if got := IsTimeout(errors.Join(io.EOF, fmt.Errorf("read: %w", err))); got != want {
			t.Errorf("%v, wrapped: %v", err, got)
		}
	}
}

func Example() {
	fmt.Println(IsTimeout(fmt.Errorf("dial: %w", context.DeadlineExceeded)), IsTimeout(net.ErrClosed))
	// Output: true false
}
