package setting

import (
	"cmp"
	"errors"
	"fmt"
)

// Default gives a field its default, if it has the zero value.
func Default[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// Error is one mistake.
type Error struct {
	Field string // its Go name
	Err   error
}

func (e *Error) Error() string { return e.Field + " " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Check collects the mistakes of one configuration. The zero value is ready for use.
type Check struct{ errs []error }

// Bad notes a mistake. The format is that of fmt.Errorf.
func (c *Check) Bad(field, format string, args ...any) {
	c.errs = append(c.errs, &Error{field, fmt.Errorf(format, args...)})
}

// Required notes that a field is missing, unless it is set.
func (c *Check) Required(field string, set bool) {
	if !set {
		c.Bad(field, "is required")
	}
}

// AtLeast notes that the value of a field is too small, or no number.
func AtLeast[T cmp.Ordered](c *Check, field string, value, least T) {
	if !(value >= least) {
		c.Bad(field, "is %v, must be at least %v", value, least)
	}
}

// Err joins the mistakes, each an *Error. It is nil if there are none.
func (c *Check) Err() error { return errors.Join(c.errs...) }
