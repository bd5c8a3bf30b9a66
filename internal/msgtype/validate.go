package msgtype

import (
	"errors"
	"fmt"
	"math"
)

// FieldError is one mistake in a Spec.
type FieldError struct {
	Type  string // the spec's name, as it is
	Field string // the field's Go name, such as Broadcast.Deadline
	Err   error
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("message type %q: %s %v", e.Type, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// Validate reports every mistake of a spec, joined, each as a *FieldError. It
// takes specs with and without their defaults.
func (s Spec) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &FieldError{s.Name, field, fmt.Errorf(format, args...)})
	}
	if err := CheckName(s.Name); err != nil {
		bad("Name", "%w", err)
	}
	switch d := s.WithDefaults(); {
	case s.MaxSize < 0 || s.MaxSize > MaxSize:
		bad("MaxSize", "is %d, must be 1 to %d", s.MaxSize, MaxSize)
	case d.Broadcast.MaxSize < 0 || d.Broadcast.MaxSize > d.MaxSize:
		bad("Broadcast.MaxSize", "is %d, must be 1 to MaxSize, %d", d.Broadcast.MaxSize, d.MaxSize)
	case d.Broadcast.MaxPublish < 0 || d.Broadcast.MaxPublish > d.Broadcast.MaxSize:
		bad("Broadcast.MaxPublish", "is %d, must be 1 to Broadcast.MaxSize, %d", d.Broadcast.MaxPublish, d.Broadcast.MaxSize)
	}
	if s.Priority > PriorityLow {
		bad("Priority", "is unknown: %d", uint8(s.Priority))
	}
	if s.Compression > CompressNone {
		bad("Compression", "is unknown: %d", uint8(s.Compression))
	}
	if s.CompressAbove < 0 {
		bad("CompressAbove", "is %d, must not be negative", s.CompressAbove)
	}
	if s.QueueBytes < 0 {
		bad("QueueBytes", "is %d, must not be negative", s.QueueBytes)
	}
	if s.NoBroadcast && s.Broadcast != (Broadcast{}) {
		bad("Broadcast", "is set for a type with NoBroadcast")
	}
	s.Broadcast.validate(bad)
	return errors.Join(errs...)
}

func (b Broadcast) validate(bad func(field, format string, args ...any)) {
	if len(b.Topic) > MaxTopic {
		bad("Broadcast.Topic", "has %d bytes, at most %d are allowed", len(b.Topic), MaxTopic)
	}
	if b.Deadline < 0 {
		bad("Broadcast.Deadline", "is %s, must not be negative", b.Deadline)
	}
	if b.Concurrency < 0 {
		bad("Broadcast.Concurrency", "is %d, must not be negative", b.Concurrency)
	}
	if b.ParkTime < 0 {
		bad("Broadcast.ParkTime", "is %s, must not be negative", b.ParkTime)
	}
	if w := b.Score.Weight; math.IsNaN(w) || math.IsInf(w, 0) {
		bad("Broadcast.Score.Weight", "is %v", w)
	}
	if n := b.Score.PerSecond; !(n >= 0 && n <= math.MaxInt32) {
		bad("Broadcast.Score.PerSecond", "is %v, must be 0 to 2^31-1", n)
	}
}
